"""Put comparisons that `compare --json` wrote where the app and README show them.

    python -m restorelcc compare demo --json > compared.json
    python tests/benchmarks/rivals/shipped.py compared.json wanda-60

Writes `assets/demo/experiments/NAME.json` and README's tables. Places on disk are shortened to names.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from restorelcc.artifacts.experiments import experiment_table, given_experiment, shipped_experiments
from restorelcc.models.loading import DEMO_FOLDER

BEGIN, END = "<!-- experiments -->", "<!-- /experiments -->"


def main() -> None:
    if len(sys.argv) == 3:
        found = given_experiment(Path(sys.argv[1]).read_bytes())
        found.facts.pop("recipe", None)  # It names places of the machine where it was measured.
        for part in ("pair", "texts"):
            names = found.facts[part]
            found.facts[part] = {key: name and Path(name).name for key, name in names.items()}
        folder = DEMO_FOLDER / "experiments"
        folder.mkdir(exist_ok=True)
        (folder / f"{sys.argv[2]}.json").write_text(found.written(), encoding="utf-8")
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    tables = "\n\n".join(map(experiment_table, shipped_experiments()))
    readme.write_text(f"{before}{BEGIN}\n{tables}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
