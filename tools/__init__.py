"""Tools for developers: tidy, bench, simulate, torture."""
