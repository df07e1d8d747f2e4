#!/usr/bin/env python3
"""Refreshes the vendored mail domain lists under shared/domain/data/.

Packs the newest release of each package below with `npm pack` (no install, so that no script of a package runs), and writes the lists, their
licences and `sources.toml`. What is written depends on the releases alone: running it twice changes nothing.

Usage: scripts/refresh-lists.py [--check]

  --check  write nothing; exit with 1 when a file differs from what would be written

Needs Python 3.9 or newer and npm.
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

DATA = pathlib.Path(__file__).resolve().parent.parent / "shared" / "domain" / "data"

FREE = "free-email-domains"
DISPOSABLE = "disposable-email-domains-js"

# Package, the member of its archive that holds the list, the licence's member, the smallest plausible number of entries.
PACKAGES = {
    FREE: ("package/domains.json", "package/LICENSE.md", 4000),
    DISPOSABLE: ("package/dist/dict/disposable_email_blocklist.json", "package/LICENSE", 4000),
}

DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}")

# Providers that must never be missing: a broken release is refused rather than vendored.
KNOWN_FREE = {"gmail.com", "outlook.com", "yahoo.co.uk", "web.de", "qq.com"}
KNOWN_DISPOSABLE = {"mailinator.com", "guerrillamail.com", "yopmail.com"}


def npm(*arguments, cwd):
    """Runs npm and returns what it printed."""
    command = ["npm", "--silent", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(command)}` failed:\n{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def fetch(package, folder):
    """Returns version, licence name, release date, licence text and domains of the newest release."""
    list_member, licence_member, smallest = PACKAGES[package]
    about = json.loads(npm("view", package, "version", "license", "time", "--json", cwd=folder))
    version, licence = about["version"], about["license"]
    released = about["time"][version][:10]
    archive = npm("pack", f"{package}@{version}", "--ignore-scripts", cwd=folder).strip().splitlines()[-1]
    with tarfile.open(folder / archive) as tar:
        domains = json.load(tar.extractfile(list_member))
        licence_text = tar.extractfile(licence_member).read().decode("utf-8")
    domains = {domain.strip().lower().rstrip(".").encode("idna").decode() for domain in domains}
    wrong = sorted(domain for domain in domains if not DOMAIN.fullmatch(domain))
    if wrong:
        print(f"{package}: left out, no domains: {', '.join(wrong[:10])}", file=sys.stderr)
        domains -= set(wrong)
    if len(domains) < smallest:
        sys.exit(f"{package}@{version} holds {len(domains)} domains, fewer than {smallest}: refused")
    return version, licence, released, licence_text, domains


def lines(domains):
    """One domain a line, sorted by bytes, as the look-up needs them."""
    return "".join(f"{domain}\n" for domain in sorted(domains))


def source(name, file, note, package, release, count):
    version, licence, released, _, _ = release
    return (
        f"[{name}]\n"
        f'file = "{file}"\n'
        f'package = "npm {package}"\n'
        f'version = "{version}"\n'
        f'released = "{released}"\n'
        f'licence = "{licence}"\n'
        f'licence_text = "LICENSE-{package}"\n'
        f"entries = {count}\n"
        f'note = "{note}"\n'
    )


def build(folder):
    """Returns the text of every file by its name."""
    free, disposable = fetch(FREE, folder), fetch(DISPOSABLE, folder)
    throwaway = disposable[4]
    personal = free[4] - throwaway
    additions = set((DATA / "free-mail-additions.txt").read_text().split())
    for known, domains, package in ((KNOWN_FREE, personal, FREE), (KNOWN_DISPOSABLE, throwaway, DISPOSABLE)):
        if not known <= domains:
            sys.exit(f"{package} lacks {', '.join(sorted(known - domains))}: refused")
    if additions & throwaway:
        sys.exit(f"free-mail-additions.txt holds disposable domains: {', '.join(sorted(additions & throwaway))}")
    header = (
        "# Where the vendored lists come from. Written by scripts/refresh-lists.py, except the lists under [own],\n"
        "# which are kept by hand. Every list has one entry a line, in lower case, sorted by bytes.\n\n"
    )
    own = (
        "[own]\n"
        'files = ["free-mail-additions.txt", "role-mailboxes.txt"]\n'
        'licence = "MIT OR Apache-2.0"\n'
        'note = "Free-mail providers that the package lacks; mailboxes that belong to a role and not to a person."\n'
    )
    sources = [
        source("free_mail", "free-mail.txt", "Without the entries of disposable.txt.", FREE, free, len(personal)),
        source("disposable", "disposable.txt", "As published.", DISPOSABLE, disposable, len(throwaway)),
        own,
    ]
    return {
        "free-mail.txt": lines(personal),
        "disposable.txt": lines(throwaway),
        f"LICENSE-{FREE}": free[3],
        f"LICENSE-{DISPOSABLE}": disposable[3],
        "sources.toml": header + "\n".join(sources),
    }


def main():
    parser = argparse.ArgumentParser(description="Refreshes the vendored mail domain lists.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file would change")
    check = parser.parse_args().check
    if shutil.which("npm") is None:
        sys.exit("npm is missing; install Node.js 20 or newer")
    with tempfile.TemporaryDirectory() as folder:
        files = build(pathlib.Path(folder))
    changed = []
    for name, text in files.items():
        path = DATA / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            changed.append(name)
            if not check:
                path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{'would change' if check else 'changed'}: {', '.join(changed) or 'nothing'}")
    if check and changed:
        sys.exit(1)


if __name__ == "__main__":
    main()
