"""De-identify every video of a folder into another one, and list what needs a look.

    python examples/whole_folder.py recordings/ public/
"""

from __future__ import annotations

import sys
from pathlib import Path

from deid import DeidError, deidentify

ENDINGS = {".mp4", ".mov", ".mkv", ".webm", ".avi"}


def main(sources: Path, targets: Path) -> int:
    targets.mkdir(parents=True, exist_ok=True)
    failed = 0
    for source in sorted(path for path in sources.iterdir() if path.suffix.lower() in ENDINGS):
        try:
            report = deidentify(source, targets / source.name, engine="blur")
        except DeidError as error:
            failed += 1
            print(f"{source.name}: FAILED: {error}")
            continue
        print(f"{source.name}: {len(report.tracks)} tracks; {'; '.join(report.warnings) or 'no warnings'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
