"""A fragment of HTML as a test reads it, and names that must bring nothing onto a page."""

from html.parser import HTMLParser

HOSTILE = [
    "<script>alert(1)</script>.png",
    '"><img src=x onerror=alert(1)>.png',
    "' onmouseover='alert(1).png",
    "a&b<c>.png",
    "{n}%s</figure>.png",
    "line\nbreak.png",
]


class Page(HTMLParser):
    """Collect a fragment's elements and check that every one that opens is closed."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def images(self):
        return [attributes for tag, attributes in self.elements if tag == "img"]
