"""Read what the training tasks wrote and print the best model."""

from __future__ import annotations

import json
from pathlib import Path


def main() -> None:
    """Print a table, best first."""
    results = [json.loads(path.read_text()) for path in Path("results").glob("*.json")]
    results.sort(key=lambda result: -result["accuracy"])
    for result in results:
        again = " (second attempt)" if result["attempt"] > 1 else ""
        print(f"{result['accuracy']:.4f}  {result['seconds']:5.1f} s  {result['model']}{again}")
    print(f"best of {len(results)}: {results[0]['model']}")


if __name__ == "__main__":
    main()
