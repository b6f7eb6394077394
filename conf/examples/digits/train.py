"""Train one model on scikit-learn's handwritten digits; the array task number picks which one."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

MODELS = [
    ("logistic regression, C=0.1", LogisticRegression(C=0.1, max_iter=2000)),
    ("logistic regression, C=1", LogisticRegression(C=1.0, max_iter=2000)),
    ("5 nearest neighbours", KNeighborsClassifier(5)),
    ("random forest, 200 trees", RandomForestClassifier(200, random_state=0)),
    ("support vectors, gamma=0.001", SVC(gamma=0.001)),
    ("support vectors, gamma=0.01", SVC(gamma=0.01)),
    ("perceptron, 64 units", MLPClassifier(64, max_iter=400, random_state=0)),
    ("perceptron, 128 units", MLPClassifier(128, max_iter=400, random_state=0)),
]

#: This task fails at its first attempt, as real ones do: gflow runs it again.
UNLUCKY_TASK = 3


def main() -> None:
    """Write the cross-validated accuracy to results/<task>.json."""
    task = int(os.environ["GFLOW_ARRAY_TASK_ID"])
    attempt = int(os.environ["GFLOW_ATTEMPT"])
    name, model = MODELS[task]
    print(f"task {task}, attempt {attempt}: {name}", flush=True)
    if task == UNLUCKY_TASK and attempt == 1:
        sys.exit("the data server did not answer")
    images, labels = load_digits(return_X_y=True)
    began_s = time.monotonic()
    accuracy = cross_val_score(model, images, labels, cv=5).mean()
    result = {
        "task": task,
        "model": name,
        "attempt": attempt,
        "accuracy": round(float(accuracy), 4),
        "seconds": round(time.monotonic() - began_s, 1),
    }
    Path("results").mkdir(exist_ok=True)
    Path("results", f"{task}.json").write_text(json.dumps(result))
    print(f"accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
