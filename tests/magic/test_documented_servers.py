"""The lines of docs/own-gpu.md for servers on one's own GPU, run as they stand, against what those servers take."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from local_server import LocalServer
from loopback import png
from PIL import Image

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/own-gpu.md").read_text("utf-8")
#: The page's sections and the shapes of their servers.
SECTIONS = {
    "Xinference": "xinference",
    "vLLM-Omni": "vllm_omni",
    "SGLang diffusion": "sglang",
    "stable-diffusion.cpp": "sd_server",
}


@pytest.mark.parametrize(("section", "name"), SECTIONS.items())
def test_the_documented_lines_work(shell, tmp_path, section, name):
    """Each line makes its pictures, and nothing that it sends is ignored but what sd-server has no use for."""
    shape = json.loads((ROOT / f"tests/engines/openai/local_servers/{name}.json").read_text("utf-8"))
    (tmp_path / "cat.png").write_bytes(png(size=(96, 96)))
    Image.fromarray(np.eye(96, dtype=np.uint8) * 255).save(tmp_path / "keep.png")
    text = PAGE.partition(f"### {section}\n")[2].partition("\n### ")[0]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (block,) = (lines for kind, lines in blocks if not kind)
    server = LocalServer(shape)
    try:
        ran = shell.run(re.sub(r"http://127\.0\.0\.1:\d+/v1", server.base, block))
    finally:
        server.close()
    assert ran.error is None
    assert len(server.posts) == block.count("%imagevariation") > 0
    assert server.ignored == ({"model", "response_format"} if name == "sd_server" else set())
