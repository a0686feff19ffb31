"""Write the diagram of services and topics into docs/architecture.md, from each service's literal wiring.

`make docs` writes it; tests/architecture fails when the page differs from the code.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts import services

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
BEGIN, END = "<!-- services and topics: begin -->", "<!-- services and topics: end -->"


def diagram() -> str:
    """Return the diagram as a Mermaid flow chart: services are boxes, topics are rounded."""
    lines = ["```mermaid", "flowchart LR", "    client([client]) --> gateway"]
    wired = services.load()
    lines += [f"    gateway -->|HTTP| {service.name}" for service in wired if service.name != "gateway"]
    topics = sorted({topic for service in wired for topic in (*service.publishes, *service.subscribes)})
    lines += [f"    {_node(topic)}([{topic}])" for topic in topics]
    for service in wired:
        lines += [f"    {service.name} ==> {_node(topic)}" for topic in service.publishes]
        lines += [
            f"    {_node(topic)} -->|{', '.join(readers)}| {service.name}"
            for topic in service.subscribes
            if (readers := [one.name for one in service.consumers if topic in one.topics])
        ]
    return "\n".join([*lines, "```"])


def page_with_diagram(text: str) -> str:
    """Return the page's text with the diagram between its two markers replaced."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise LookupError(f"{PAGE} lacks the markers {BEGIN} … {END}; put them where the diagram belongs.")
    return f"{before}{BEGIN}\n{diagram()}\n{END}{after}"


def _node(topic: str) -> str:
    return topic.replace(".", "_").replace("-", "_")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page_with_diagram(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
