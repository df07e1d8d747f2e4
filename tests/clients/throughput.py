#!/usr/bin/env python3
"""Measures how many events per second an instance takes from the first request until everything is scored.

Not a test: it asserts only that nothing was lost. Starts the binary on a data directory of its own (HARPOON_BIN, else target/release, else
target/debug), sends batches from several processes, and waits until the accounts show all of it.

Usage: .venv/bin/python tests/clients/throughput.py [--events 100000] [--batch 20] [--identities 1] [--processes 4] [--accounts 200]

  --identities  how many people a batch holds events of: 1, or as many as the batch has events
"""

import argparse
import http.client
import json
import multiprocessing
import os
import pathlib
import tempfile
import time

from product import ROOT, Product, ask, binary, quoted, write_key_header

HEADERS = (("Authorization", write_key_header()), ("Content-Type", "application/json"))
PEOPLE_PER_ACCOUNT = 5
# Makes an event about as long as the ones that clients send: 640 bytes.
FILLER = "x" * 300


def event(process, place, person, accounts):
    account = person % accounts
    return {
        "type": "track",
        "userId": f"u-{person}",
        "event": "Page View",
        "messageId": f"{process}-{place}",
        "context": {"sessionId": f"s-{person}-{place // 500}", "traits": {"email": f"p{person}@{domain(account)}"}},
        "properties": {"path": "/plans", "url": "https://www.northwind-looms.example/plans", "detail": FILLER},
    }


def domain(account):
    return f"loomhouse-{account:05}-works.com"


def send(process, port, events, batch, identities, accounts, answers):
    """One client: one connection, one batch after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    people = accounts * PEOPLE_PER_ACCOUNT
    sent, slowest, begun = 0, 0.0, time.perf_counter()
    first = process * people // 7
    while sent < events:
        size = min(batch, events - sent)
        calls = [event(process, sent + n, (first + sent // batch * identities + n % identities) % people, accounts) for n in range(size)]
        asked = time.perf_counter()
        answer = ask(connection, "POST", "/v1/batch", json.dumps({"batch": calls}).encode(), HEADERS)
        if answer.status == 503:
            time.sleep(0.05)
            continue
        assert answer.status == 200, answer
        slowest = max(slowest, time.perf_counter() - asked)
        sent += size
    connection.close()
    answers.put((sent, time.perf_counter() - begun, slowest))


def in_timelines(product, accounts):
    """How many events the timelines of all accounts hold."""
    return sum(len(product.listed(f"/accounts/{quoted(domain(account))}/timeline")) for account in range(accounts))


def counted(product, accounts):
    """How many events the leads of all accounts are shown with."""
    return sum(lead["events"] for account in range(accounts) for lead in product.listed(f"/accounts/{quoted(domain(account))}/leads"))


def marked(product, marks):
    """Whether the accounts list shows everybody's last event, which it does when they are scored and levelled."""
    latest = {item["account_id"]: item["last_activity_at"] for item in product.listed("/accounts")}
    return all(latest.get(account, "") >= at for account, at in marks.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"events": 100_000, "batch": 20, "identities": 1, "processes": 4, "accounts": 200}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    if "HARPOON_BIN" not in os.environ and (release := ROOT / "target" / "release" / "harpoon").exists():
        os.environ["HARPOON_BIN"] = str(release)
    with tempfile.TemporaryDirectory(prefix="harpoon-throughput-") as directory:
        product = Product(pathlib.Path(directory)).start()
        try:
            measure(product, options)
        finally:
            product.stop()


def measure(product, options):
    answers = multiprocessing.Queue()
    share = options.events // options.processes
    begun = time.perf_counter()
    clients = [
        multiprocessing.Process(
            target=send, args=(number, product.port, share, options.batch, options.identities, options.accounts, answers)
        )
        for number in range(options.processes)
    ]
    for client in clients:
        client.start()
    results = [answers.get() for _ in clients]
    for client in clients:
        client.join()
    accepted = time.perf_counter() - begun
    total = sum(sent for sent, _, _ in results)
    print(f"{binary()}: batches of {options.batch} with {options.identities} identities, {options.processes} clients")
    print(f"accepted   {total:>8,} events in {accepted:6.1f} s: {total / accepted:>8,.0f} events/s, slowest answer {max(s for *_, s in results) * 1000:.0f} ms")

    # One more event for every account, which stands behind all others in the queue.
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for start in range(0, options.accounts, 100):
        calls = [
            event("mark", account, account, options.accounts) | {"timestamp": now}
            for account in range(start, min(start + 100, options.accounts))
        ]
        assert product.track("/v1/batch", {"batch": calls}).status == 200
    total += options.accounts
    marks = {domain(account): now[:19] for account in range(options.accounts)}
    while not marked(product, marks):
        time.sleep(0.1)
    while True:
        # The clock stops where a reading begins that finds everything, since the reading itself takes a while.
        done = time.perf_counter() - begun
        found = counted(product, options.accounts)
        if found >= total or done > 3_600:
            break
    print(f"end to end {total:>8,} events in {done:6.1f} s: {total / done:>8,.0f} events/s")
    found = in_timelines(product, options.accounts)
    print(f"timelines  {found:>8,} events: {'nothing lost, nothing doubled' if found == total else f'expected {total:,}'}")
    assert found == total


if __name__ == "__main__":
    main()
