"""Follow a run from one's own program: a subclass of Progress hears of every stage and every frame.

    python examples/own_progress.py interview.mp4 public.mp4
"""

from __future__ import annotations

import sys

from deid import Progress, deidentify


class Percent(Progress):
    """Prints every tenth part of each stage."""

    def stage(self, name: str, total: int | None = None) -> None:
        super().stage(name, total)
        self.done, self.total, self.name = 0, total, name
        print(name)

    def advance(self, n: int = 1) -> None:
        super().advance(n)
        before, self.done = self.done, self.done + n
        if self.total and before * 10 // self.total != self.done * 10 // self.total:
            print(f"  {100 * self.done // self.total} %")


if __name__ == "__main__":
    report = deidentify(sys.argv[1], sys.argv[2], progress=Percent())
    print(*report.lines(), sep="\n")
