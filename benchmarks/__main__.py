"""``python -m benchmarks [NAME ...]``: measure, print the table, fail when one is out of bounds."""

import sys

from benchmarks import bench_guests, bench_net, bench_paths, bench_qdisk, bench_store
from benchmarks.report import Row, table

GROUPS = {
    "paths": bench_paths.run,
    "guests": bench_guests.run,
    "store": bench_store.run,
    "net": bench_net.run,
    "qdisk": bench_qdisk.run,
}


def main(names: list[str]) -> int:
    """Run the groups named (all without a name); 0 when every row is within its bound."""
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        print(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
        return 2
    rows: list[Row] = []
    for name in names or list(GROUPS):
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        for row in GROUPS[name]():
            print(f"  {row.name}: {row.ours}, {row.value:.2f}", file=sys.stderr, flush=True)
            rows.append(row)
    print(table(rows))
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
