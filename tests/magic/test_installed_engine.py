"""The magic in a real kernel, with an engine of another package."""


def test_a_kernel_completes_explains_and_runs_it(kernel, installed_engine):
    """Tab, --help and a run know the models and options of an installed engine; a hosted one finds the key."""
    kernel.run(f"import sys; sys.path.insert(0, {str(installed_engine)!r})")
    line = "%imagevariation photo.png --engine "
    assert kernel.complete(f"{line}posterise-h")[0] == ["posterise-hosted"]
    # IPython 7 brings them into an order of its own.
    assert sorted(kernel.complete(f"{line}posterise-weights --model ")[0]) == ["hard", "soft"]
    assert kernel.complete("%imagevariation --unl")[0] == ["--unload"]
    line += "posterise "
    assert sorted(kernel.complete(f"{line}--model ")[0]) == ["hard", "soft"]
    assert sorted(kernel.complete(f"{line}--option ")[0]) == ["bits=", "mirror="]
    line_of = f"{line}--option mirror="
    matches, start, end = kernel.complete(line_of)
    assert {line_of[:start] + each + line_of[end:] for each in matches} == {
        f"{line_of}always",
        f"{line_of}never",
    }
    (said,) = kernel.run(f"{line}--help").outputs
    assert "Options of the engine posterise" in said.text
    assert "bits=1..8" in said.text
    cell = f"x = {line}--model hard --option bits=2 -s 64 --seed 7 --mask {{mask}} --quiet"
    kernel.run("from PIL import Image\nmask = Image.open('photo.png').convert('L')")
    assert kernel.run(cell).status == "ok"
    assert kernel.value("x.model, x[0].parameters['options'], x[0].size") == "('hard', {'bits': 2}, (64, 64))"
    kernel.run("OPENAI_API_KEY = 'sk-1'\nOPENAI_API_BASE = 'http://images.example/v1'")
    (shown,) = kernel.run("%imagevariation photo.png --engine posterise-hosted -s 64").outputs
    assert "images.example" in str(shown.earlier)
    kernel.run("del OPENAI_API_KEY, OPENAI_API_BASE")
