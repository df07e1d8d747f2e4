"""What the template already has and the functions do not read or send yet.

Each test that looks here also fails when something listed is there after all, so that nothing stays on a list for longer than it is true.
"""

#: {function: variables that the template sets and its Config does not read}
VARIABLES_NOT_READ: dict[str, set[str]] = {
    "resolve": {"HARPOON_EVENT_LOG_MONTHS"},
    "rescore": {"HARPOON_EVENT_LOG_MONTHS"},
}

#: {function: variables that its Config reads and the template does not set}
VARIABLES_NOT_SET: dict[str, set[str]] = {}

#: Counters of the dashboard and the alarms that no function sends
COUNTERS_NOT_SENT: set[str] = set()
