#!/usr/bin/env python3
"""Reads a server's metrics as Prometheus does.  pip install prometheus-client

metrics_check.py URL      http://127.0.0.1:16391/metrics
"""
import sys, urllib.request

from prometheus_client.parser import text_string_to_metric_families


def main(url):
    with urllib.request.urlopen(url) as answer:
        kind, text = answer.headers["Content-Type"], answer.read().decode()
    if not kind.startswith("text/plain; version=0.0.4"):
        sys.exit(f"Content-Type: {kind}")
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    if not families or len(set(names)) != len(names):
        sys.exit(f"none, or some twice: {names}")
    for family in families:
        if family.type == "unknown" or not family.documentation or not family.samples:
            sys.exit(f"{family.name} has no type, no help or no sample")
        if not family.name.startswith(("imesli_", "process_")):
            sys.exit(f"{family.name} could be anybody's")
        labels = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        if len(set(labels)) != len(labels):
            sys.exit(f"{family.name} has a sample twice")
    print(f"{len(families)} metrics, as Prometheus reads them")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
