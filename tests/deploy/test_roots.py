"""The certificates that functions trust are those of Amazon Trust Services."""

import datetime
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sources import ROOT

#: SHA-256 of each root's SubjectPublicKeyInfo, from https://www.amazontrust.com/repository/
KEYS = {
    "Amazon Root CA 1": "fbe3018031f9586bcbf41727e417b7d1c45c2f47f93be372a17b96b50757d5a2",
    "Amazon Root CA 2": "7f4296fc5b6a4e3b35d3c369623e364ab1af381d8fa7121533c9d6c633ea2461",
    "Amazon Root CA 3": "36abc32656acfc645c61b71613c4bf21c787f5cabbee48348d58597803d7abc9",
    "Amazon Root CA 4": "f7ecded5c66047d28ed6466b543c40e0743abe81d109254dcf845d4c2c7853c5",
    "Starfield Services Root Certificate Authority - G2": "2b071c59a0a0ae76b0eadb2bad23bad4580b69c3601b630c2eaf0613afa83f92",
}


def test_the_roots_hold_the_keys_that_amazon_publishes():
    roots = x509.load_pem_x509_certificates((ROOT / "shared" / "aws" / "src" / "amazon-roots.pem").read_bytes())
    found = {}
    for root in roots:
        (name,) = root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        found[name.value] = hashlib.sha256(root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    assert found == KEYS


def test_no_root_ends_soon():
    roots = x509.load_pem_x509_certificates((ROOT / "shared" / "aws" / "src" / "amazon-roots.pem").read_bytes())
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=730)
    assert all(root.not_valid_after_utc > soon for root in roots)
