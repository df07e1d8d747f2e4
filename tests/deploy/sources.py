"""What the Rust sources say that the template must agree with."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def code(path: pathlib.Path) -> str:
    """A source file without its tests and comments."""
    text = path.read_text(encoding="utf-8").split("#[cfg(test)]")[0]
    return re.sub(r"//[^\n]*", "", text)


def variables(function: str) -> set[str]:
    """The environment variables that a function's `Config` reads. They are the only strings of that form in it."""
    found = set(re.findall(r'"(HARPOON_[A-Z_]+)"', code(ROOT / "functions" / function / "src" / "config.rs")))
    assert found, f"functions/{function}/src/config.rs reads no variable; has it moved?"
    return found


def event_sources() -> dict[str, dict[str, int]]:
    """How the local runner feeds each stage: {"resolve": {"batch_size": 50, "window": 2, …}}."""
    text = code(ROOT / "apps" / "harpoon" / "src" / "runner.rs")
    sources = {}
    for block in re.findall(r"const [A-Z]+: EventSource = EventSource \{(.*?)\};", text, re.S):
        stage = re.search(r'stage: "(\w+)"', block).group(1)
        numbers = {name: int(value) for name, value in re.findall(r"(batch_size|concurrency|max_receives): (\d+)", block)}
        seconds = {name: int(value) for name, value in re.findall(r"(window|timeout): Duration::from_secs\((\d+)\)", block)}
        if "window: Duration::ZERO" in block:
            seconds["window"] = 0
        sources[stage] = {**numbers, **seconds}
    return sources


def every_source() -> str:
    """The code of all functions and shared crates."""
    files = sorted([*ROOT.glob("functions/*/src/**/*.rs"), *ROOT.glob("shared/*/src/**/*.rs")])
    return "\n".join(code(file) for file in files)
