"""Sends calls with the official library segment-analytics-python, as a program of its user would.

Usage: python server.py <calls.json> <base url> <write key> [--gzip]

The file holds a list of calls in the words of the tracking API: {"type": "track", "userId": …, "event": …, "timestamp": "…"}.
Exits with 1 when the library reports that a call was not delivered.
"""

import json
import pathlib
import re
import sys
from datetime import datetime

import segment.analytics as library


def snake(name):
    return re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)


def main():
    file, host, write_key = sys.argv[1:4]
    failures = []
    client = library.Client(
        write_key,
        host=host,
        gzip="--gzip" in sys.argv,
        upload_size=25,
        upload_interval=0.2,
        max_retries=3,
        on_error=lambda error, items: failures.append((error, items)),
    )
    calls = json.loads(pathlib.Path(file).read_text(encoding="utf-8"))
    for call in calls:
        arguments = {snake(name): value for name, value in call.items() if name != "type"}
        if "timestamp" in arguments:
            arguments["timestamp"] = datetime.fromisoformat(arguments["timestamp"])
        queued, _ = getattr(client, call["type"])(**arguments)
        if not queued:
            sys.exit("the library's queue is full")
    client.flush()
    client.shutdown()
    if failures:
        sys.exit(f"{len(failures)} batches were not delivered; the first one: {failures[0]}")
    print(len(calls))


if __name__ == "__main__":
    main()
