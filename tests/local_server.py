"""A loopback server that takes what a shape says: one of the files of tests/engines/openai/local_servers.

A shape states which form fields each route reads, of which type, which values it refuses and with which words, under
which names it takes the picture and the mask, and how it answers. What a shape doesn't name is ignored, and recorded.
"""

import io
import json

from loopback import Api, b64, response
from PIL import Image

TRUTHS = {"true", "false", "1", "0", "on", "off", "yes", "no"}


def _is_json(text):
    try:
        return json.loads(text) is not None
    except ValueError:
        return False


def _is_number(text):
    return text.replace(".", "", 1).lstrip("-").isdecimal()


#: For each type of a shape: the test of a form's text, and FastAPI's word for a text that fails it.
TYPES = {
    "string": (lambda _: True, ""),
    "integer": (lambda text: text.lstrip("-").isdecimal(), "int_parsing"),
    "number": (_is_number, "float_parsing"),
    "boolean": (lambda text: text.lower() in TRUTHS, "bool_parsing"),
    "json": (_is_json, "json_invalid"),
}


class LocalServer(Api):
    """A server that takes what a shape says, and refuses and ignores the rest as the shape's reader does."""

    def __init__(self, shape):
        self.shape = shape
        self.ignored = set()
        super().__init__()

    def _steps(self, request):
        if request.method == "GET":
            return super()._steps(request)
        route = self.shape["routes"].get(request.path)
        if route is None:
            return [
                response(404, b"", None) if self._is("sd-server") else response(404, {"detail": "Not Found"})
            ]
        if self._is("sd-server") and not request.headers["content-type"].startswith("multipart/form-data"):
            return [self._refused(400, "Content-Type must be multipart/form-data")]
        refusal = self._validated(route["fields"], request.fields) or self._allowed(
            route["fields"], request.fields
        )
        names = [name for name in route["image"]["names"] if name in request.files]
        if refusal is None and not names:
            if "status" not in route["image"]:
                return [self._invalid([("missing", "image", None)])]
            return [self._refused(route["image"]["status"], route["image"]["refusal"])]
        known = {*route["fields"], *route["image"]["names"], route.get("mask")}
        self.ignored |= {*request.fields, *request.files} - known
        return [refusal or self._made(route, request, request.files[names[0]][2])]

    def _is(self, reader):
        return self.shape["reader"] == reader

    def _validated(self, fields, given):
        """Return the refusal of missing fields and wrong types; FastAPI reads a blank text as a missing field."""
        faults = []
        for name, rule in fields.items():
            text = given.get(name, "")
            if not text:
                if rule.get("required") and self._is("sd-server"):
                    return self._refused(rule["status"], rule["refusal"])
                if rule.get("required"):
                    faults.append(("missing", name, None))
            elif not TYPES[rule["type"]][0](text):
                faults.append((TYPES[rule["type"]][1], name, text))
        return self._invalid(faults) if faults else None

    def _allowed(self, fields, given):
        for name, rule in fields.items():
            if not given.get(name) and rule.get("needed"):  # not by the route, but by the pipeline behind it
                return self._refused(rule["status"], rule["refusal"])
            if given.get(name) and given[name] not in rule.get("allowed", [given[name]]):
                return self._refused(rule["status"], rule["refusal"].format(value=given[name]))
        return None

    def _invalid(self, faults):
        details = [
            {
                "type": kind,
                "loc": ["body", name],
                "msg": "Field required" if kind == "missing" else kind,
                "input": text,
            }
            for kind, name, text in faults
        ]
        return self._refused(400, str(details)) if self._is("vllm") else response(422, {"detail": details})

    def _refused(self, status, message):
        if self._is("vllm"):
            body = {"error": {"message": message, "type": "Bad Request", "param": None, "code": status}}
        else:
            body = {"error" if self._is("sd-server") else "detail": message}
        return response(status, body)

    def _made(self, route, request, data):
        answer, fields = self.shape["answer"], request.fields
        n = int(fields.get("n") or 1)
        if "url" in answer and fields.get("response_format", "url") == "url":
            items = [{**answer["item"], "url": answer["url"], "b64_json": None}] * n
        else:
            size = tuple(map(int, fields["size"].split("x")))
            mask = request.files.get(route.get("mask"), (None, None, None))[2]
            painted = _painted(_decoded(data, route["image"]), size, mask)
            kind = answer.get("formats", {}).get(fields.get("output_format"), answer["format"])
            file = io.BytesIO()
            painted.save(file, kind)
            items = [{**answer["item"], "b64_json": b64(file.getvalue())}] * n
        return response(200, {"created": 1, "data": items, **answer.get("more", {})})


def _decoded(data, rule):
    """Return the picture as these servers decode it: never turned, and dropped where their decoder can't read it."""
    image = Image.open(io.BytesIO(data))
    readable = image.format in rule.get("formats", [image.format])
    return (
        image.convert("RGB") if readable and len(image.getbands()) >= rule.get("least_channels", 1) else None
    )


def _painted(source, size, mask):
    """Return the source in inverted colours, or grey where it was dropped; a mask's white part alone is painted."""
    if source is None:
        return Image.new("RGB", size, "grey")
    source = source.resize(size)
    painted = Image.eval(source, lambda level: 255 - level)
    if mask is None:
        return painted
    # Alpha is not looked at: `convert("L")` drops it, as stb_image and diffusers' mask processor do.
    white = Image.open(io.BytesIO(mask)).convert("L").resize(size)
    return Image.composite(painted, source, white.point(lambda level: 255 * (level >= 128)))
