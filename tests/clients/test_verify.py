"""`harpoon verify` beside a running server: it agrees, finds what somebody broke in the store, and mends it."""

import http.client
import json
import urllib.parse

from reading import Reading


def store(product, operation, **body):
    """A request to the running server's store, past the server."""
    endpoint = (product.directory / "data" / "store-endpoint").read_text()
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(endpoint).netloc, timeout=10)
    scope = "local/20260101/us-east-1/dynamodb/aws4_request"
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"DynamoDB_20120810.{operation}",
        "X-Amz-Date": "20260101T000000Z",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=00",
    }
    connection.request("POST", "/", json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 200, f"{operation} was answered {answer.status} {text[:500]}"
    return json.loads(text)


def items(product, wanted):
    found, more = [], {}
    while True:
        page = store(product, "Scan", TableName="harpoon-accounts", **more)
        found += [item for item in page["Items"] if wanted(item["pk"]["S"], item["sk"]["S"])]
        if "LastEvaluatedKey" not in page:
            return found
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def remove(product, item):
    store(product, "DeleteItem", TableName="harpoon-accounts", Key={"pk": item["pk"], "sk": item["sk"]})


def test_what_was_broken_in_the_store_is_found_and_mended(instances):
    product = instances.start("verified")
    companies = ["quarrystone-mills.com", "fernhollow-labs.com", "saltmarsh-rail.com"]
    for person in range(12):
        who = {"userId": f"u-{person}"}
        calls = [{"type": "identify", **who, "traits": {"email": f"p{person}@{companies[person % 3]}"}}]
        calls += [{"type": "track", "event": "Demo Requested", **who} for _ in range(3)]
        assert product.track("/v1/batch", {"batch": calls}).status == 200
    before = Reading.settled(product)
    assert product.verify()["sentence"] == "12 identities and 3 accounts agree with the log."
    assert (product.directory / "data" / "store-endpoint").stat().st_mode & 0o777 == 0o600

    # A state, a score record and a mapping are gone.
    state = items(product, lambda pk, sk: pk.endswith("#H#a:quarrystone-mills.com") and sk.startswith("S#"))[0]
    score = items(product, lambda pk, sk: pk.endswith("#H#a:fernhollow-labs.com") and sk == "R")[0]
    lost = items(product, lambda pk, sk: pk.endswith("#H#a:saltmarsh-rail.com") and sk.startswith("S#"))[0]
    mapping = items(product, lambda pk, sk: sk == "I" and pk.endswith("#I#" + lost["sk"]["S"].removeprefix("S#")[2:]))[0]
    for item in (state, score, lost, mapping):
        remove(product, item)
    found = product.verify("--wait", "1")
    assert not found["agrees"]
    assert "2 identities with 8 events have no state" in found["sentence"], found
    code, printed = product.run("verify", "--wait", "1")
    assert code == 1 and "u-" not in printed and "@" not in printed, printed

    mended = product.verify("--wait", "1", "--mend")
    assert mended["sentence"] == "12 identities and 3 accounts agree with the log.", mended
    assert {name: row.shown() for name, row in Reading.settled(product).accounts.items()} == {
        name: row.shown() for name, row in before.accounts.items()
    }

    # The same from the files of a server that does not run.
    product.stop()
    assert not (product.directory / "data" / "store-endpoint").exists()
    assert product.verify()["sentence"] == "12 identities and 3 accounts agree with the log."


def test_a_directory_without_data_is_named(tmp_path):
    import subprocess

    from product import binary

    done = subprocess.run([binary(), "verify", "--data-dir", tmp_path / "none"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"there is no Harpoon data in `{tmp_path / 'none'}`" in done.stderr
    assert not (tmp_path / "none").exists()
