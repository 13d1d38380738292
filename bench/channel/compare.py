#!/usr/bin/env python3
"""Runs the channel benchmarks beside those of the other queues, and beside Go's where there is a `go`, and prints one table.

    bench/channel/compare.py BUILD_DIR [--repetitions 5] [--min-time 0.2]

Every number is the median of the repetitions, which are interleaved at random, so that a disturbance hits all alike.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
QUEUES = ["channel", "locked", "moodycamel"]


def google_benchmark(program, *arguments):
    output = subprocess.run([program, "--benchmark_format=json", *arguments], check=True, capture_output=True, text=True)
    return json.loads(output.stdout)["benchmarks"]


def throughput(build, repetitions, min_time):
    rows = {}
    for run in google_benchmark(
        build / "bench/channel/bench_channel_handoff",
        "--benchmark_filter=BM_Handoff",
        f"--benchmark_repetitions={repetitions}",
        f"--benchmark_min_time={min_time}",
        "--benchmark_enable_random_interleaving=true",
    ):
        if run.get("aggregate_name") != "median":
            continue
        _, queue, kind, *shape = run["run_name"].split("/")
        sizes = dict(part.split(":") for part in shape if ":" in part)
        case = f"{kind}/{sizes['producers']}x{sizes['consumers']}/{sizes['capacity']}"
        rows.setdefault(case, {})[queue] = run["items_per_second"]
    return rows


def latency(build):
    return google_benchmark(build / "bench/channel/bench_channel_latency")


def go_numbers():
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        return {}
    with tempfile.TemporaryDirectory() as directory:
        program = pathlib.Path(directory) / "bench"
        environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOCACHE": directory, "GO111MODULE": "on"}
        subprocess.run([go, "build", "-o", program, "."], cwd=HERE / "go", check=True, env=environment)
        output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in (line.split() for line in output.splitlines())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--min-time", type=float, default=0.2)
    arguments = parser.parse_args()

    rows = throughput(arguments.build, arguments.repetitions, arguments.min_time)
    go = go_numbers()
    print("| items/s, thousands | channel | mutex + condition | moodycamel | Go | channel / best of the C++ others |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for case, queues in sorted(rows.items(), key=lambda row: (row[0].split("/")[0] != "int", len(row[0].split("/")[2]), len(row[0]), row[0])):
        ours, *others = (queues[name] for name in QUEUES)
        cells = [f"{queues[name] / 1e3:,.0f}" for name in QUEUES]
        cells.append(f"{go[case] / 1e3:,.0f}" if case in go else "")
        print(f"| {case} | {' | '.join(cells)} | {ours / max(others):.2f} |")
    print()
    print("| one thread, or two that wait for each other | p50 µs | p99 µs | ns per operation |")
    print("| --- | ---: | ---: | ---: |")
    for run in latency(arguments.build):
        name = run["name"].split("/iterations")[0].removeprefix("BM_")
        if "cpu_us_per_second" in run:
            print(f"| {name}: processor time | {run['cpu_us_per_second']:.0f} µs per second | | |")
        elif "p50_us" in run:
            print(f"| {name} | {run['p50_us']:.1f} | {run['p99_us']:.1f} | |")
        else:
            print(f"| {name} | | | {run['real_time']:.0f} |")
    if "wakeup_p50" in go:
        print(f"| WakeUp/Go | {go['wakeup_p50']:.1f} | {go['wakeup_p99']:.1f} | |")


if __name__ == "__main__":
    main()
