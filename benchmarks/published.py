"""The config that stands for each model in benchmarks of all of them."""

from jaxharm.config_file import load_config, published_configs

# Runs of the papers first; a model that no paper trains has the run that comes next.
_RUNS = ("iharmony4", "ffhqh", "coco_wikiart", "shipped", "demo", "minibsds")


def main_configs() -> dict[str, str]:
    """Registry name of a model -> MODEL/RUN."""
    found: dict[str, str] = {}
    by_run = {run: [n for n in published_configs() if n.endswith(f"/{run}")] for run in _RUNS}
    for name in (name for names in by_run.values() for name in names):
        found.setdefault(load_config(name, [], []).system, name)
    return dict(sorted(found.items()))
