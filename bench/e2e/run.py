#!/usr/bin/env python3
"""End-to-end workloads of logpipe beside plain tools, in one run, every output checked.

  W1  file -> file, unchanged                              logpipe, cp, cat
  W2  file -> parse JSON -> level >= warn -> three added fields -> JSON file      logpipe, jq
  W3  the same from a pipe to a file                       logpipe, jq, gawk, and grep -F doing only the filter

For each: MB (10^6 bytes of input) per second of wall time and per CPU second (user + system of the tool), peak resident
memory; medians of --runs after one warm-up. The tools take turns, so that a drift of the machine hits all of them.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

JQ_W2 = '. | select(.level == "WARN" or .level == "ERROR") | . + {"host":"web-1","env":"prod","pipeline":"bench"}'
W1 = """\
sources: {{in: {{type: file, include: {input}}}}}
sinks: {{out: {{type: file, path: {output}, encoding: auto}}}}
"""
W2 = """\
sources: {{in: {{type: file, include: {input}}}}}
stages:
  - parse: json
  - level: warn
  - enrich: {{workers: {workers}, set: {{host: web-1, env: prod, pipeline: bench}}}}
sinks: {{out: {{type: file, path: {output}, encoding: auto}}}}
"""
W3_FLAGS = ["--parse", "json", "--level", "warn", "--set", "host=web-1", "--set", "env=prod", "--set", "pipeline=bench"]


def measure(command, work, stdin=None, stdout=None):
    """Runs one command; wall seconds, CPU seconds and peak MiB of it. time(1) starts it, because a child of this process
    would begin with the peak memory of a Python interpreter."""
    figures = os.path.join(work, "time.txt")
    feeder = subprocess.Popen(["cat", stdin], stdout=subprocess.PIPE) if stdin else None
    out = open(stdout, "wb") if stdout else subprocess.DEVNULL
    started = time.monotonic()
    child = subprocess.run(["/usr/bin/time", "-f", "%U %S %M", "-o", figures] + command,
                           stdin=feeder.stdout if feeder else subprocess.DEVNULL, stdout=out, check=False)
    wall = time.monotonic() - started
    if feeder:
        feeder.stdout.close()
        feeder.wait()
    if stdout:
        out.close()
    if child.returncode != 0:
        sys.exit(f"{command[0]} ended with status {child.returncode}")
    with open(figures, encoding="utf-8") as f:
        user, system, peak = f.read().split()
    return wall, float(user) + float(system), int(peak) / 1024


def count_lines(path, *needles):
    """Lines of the file and an order-free digest of their sequence numbers; only those with one of the needles, if any."""
    lines = digest = 0
    with open(path, "rb") as f:
        for line in f:
            if needles and not any(needle in line for needle in needles):
                continue
            lines += 1
            at = line.find(b'"seq":') + 6
            if at < 6 or not line.endswith(b"\n"):
                return lines, -1  # not a line of ours: damaged
            end = at
            while line[end:end + 1].isdigit():
                end += 1
            digest = (digest + (int(line[at:end]) + 1) * 2654435761) % (1 << 61)
    return lines, digest


def same_bytes(a, b):
    return subprocess.run(["cmp", "-s", a, b], check=False).returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logpipe", default="build/release/daemon/logpipe")
    parser.add_argument("--generate", default="build/release/bench/e2e/bench_generate")
    parser.add_argument("--mib", type=int, default=256, help="size of the input")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each tool")
    parser.add_argument("--only", default="W1,W2,W3")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="logpipe-bench-") as work:
        source = os.path.join(work, "in.log")
        output = os.path.join(work, "out.log")
        with open(source, "wb") as f:
            subprocess.run([args.generate, str(args.mib)], stdout=f, check=True)
        megabytes = os.path.getsize(source) / 1e6
        kept = count_lines(source, b'"level":"WARN"', b'"level":"ERROR"')

        def config(name, template, **values):
            path = os.path.join(work, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(template.format(input=source, output=output, **values))
            return [args.logpipe, "--config", path, "--once", "-q"]

        def identical():
            return "ok" if same_bytes(source, output) else "DIFFERENT"

        def complete(*must):
            def check():
                found = count_lines(output)
                if found != kept:
                    return f"{found[0]} OF {kept[0]} LINES" if found[1] >= 0 else "DAMAGED"
                with open(output, "rb") as f:
                    first = f.readline()
                return "ok" if all(word in first for word in must) else "FIELDS MISSING"
            return check

        added = complete(b'"web-1"', b'"prod"', b'"bench"')
        jq = ["jq", "-c", JQ_W2]
        gawk = ["gawk", '/"level":"(WARN|ERROR)"/ { sub(/}$/, ",\\"host\\":\\"web-1\\",\\"env\\":\\"prod\\",\\"pipeline\\":\\"bench\\"}"); print }']
        tools = {
            "W1": [("logpipe", config("w1.yaml", W1), None, None, identical),
                   ("cp", ["cp", source, output], None, None, identical),
                   ("cat", ["cat", source], None, output, identical)],
            "W2": [("logpipe, 1 worker", config("w2.yaml", W2, workers=1), None, None, added),
                   ("logpipe, 2 workers", config("w2b.yaml", W2, workers=2), None, None, added),
                   ("jq -c", jq + [source], None, output, added)],
            "W3": [("logpipe", [args.logpipe] + W3_FLAGS, source, output, added),
                   ("jq -c", jq, source, output, added),
                   ("gawk", gawk, source, output, added),
                   ("grep -F, filter only", ["grep", "-F", "-e", '"level":"WARN"', "-e", '"level":"ERROR"'], source,
                    output, complete())],
        }

        print(f"input: {megabytes:.0f} MB, {kept[0]} lines kept by the filter; medians of {args.runs}\n")
        print("| workload | tool | MB/s | MB per CPU-s | peak MiB | output |")
        print("|---|---|---|---|---|---|")
        bad = False
        for workload in args.only.split(","):
            present = [tool for tool in tools[workload] if shutil.which(tool[1][0])]
            figures = {name: [] for name, *_ in present}
            verdict = {}
            for turn in range(args.runs + 1):
                for name, command, stdin, stdout, check in present:
                    if os.path.exists(output):
                        os.unlink(output)
                    result = measure(command, work, stdin, stdout)
                    if turn == 0:
                        verdict[name] = check()
                        bad = bad or verdict[name] != "ok"
                    if turn > 0 or args.runs == 1:
                        figures[name].append(result)
            for name, *_ in present:
                wall, cpu, rss = (statistics.median(run[i] for run in figures[name]) for i in range(3))
                print(f"| {workload} | {name} | {megabytes / wall:.0f} | {megabytes / max(cpu, 1e-6):.0f} | {rss:.1f} | {verdict[name]} |")
        return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
