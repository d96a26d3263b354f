"""What a strength means to a pipeline's arguments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.diffusers.pipelines.strength import LEAST, adapter_scale, controls, inpainting

SHARES = st.floats(0, 1)


@given(share=SHARES, steps=st.integers(1, 200), few_steps=st.booleans())
def test_a_pipeline_runs_at_least_one_step(share, steps, few_steps):
    """No strength leaves a part of the schedule that rounds to no step, as 4 steps at .2 would."""
    made = controls("strength", share, steps, few_steps=few_steps)
    assert int(made["num_inference_steps"] * made["strength"] + 1e-9) >= 1
    assert LEAST <= made["strength"] <= 1


@given(share=SHARES, steps=st.integers(1, 50))
def test_a_model_of_few_steps_gets_them_at_every_strength(share, steps):
    """The schedule is longer by as much as the strength takes away."""
    made = controls("strength", share, steps, few_steps=True)
    assert made["num_inference_steps"] * made["strength"] >= steps - 1e-6


@given(share=SHARES, steps=st.integers(1, 200))
def test_a_latent_consistency_model_is_asked_for_no_more_steps_than_its_schedule_has(share, steps):
    """Its scheduler refuses more than the share of its own 50 that the strength leaves."""
    made = controls("strength", share, steps, all_steps=True)
    assert 1 <= made["num_inference_steps"] <= min(steps, int(50 * made["strength"]))


@pytest.mark.parametrize(
    ("control", "name", "values"),
    [
        ("strength", "strength", [0.2, 0.5, 0.85]),
        ("noise_level", "noise_level", [63, 247, 549]),
        ("guidance", "guidance_scale", [6.2, 5.0, 3.6]),
        ("scale", "prompt_embeds_scale", [0.93, 0.825, 0.703]),
    ],
)
def test_the_named_strengths_have_these_values(control, name, values):
    """Subtle, medium and strong are these numbers for each kind of pipeline, as the documentation's table says."""
    made = [controls(control, share, 25)[name] for share in (0.2, 0.5, 0.85)]
    assert made == pytest.approx(values, abs=0.003)


def test_an_adapter_takes_less_from_the_source_as_the_strength_rises():
    """The adapter's weight falls from 1 to .4."""
    assert [adapter_scale(share) for share in (0, 0.2, 0.5, 0.85, 1)] == [1, 0.88, 0.7, 0.49, 0.4]


def test_a_control_by_words_has_no_number():
    """An edit model gets its steps only; the instruction says how far to go."""
    assert controls("wording", 0.85, 4) == {"num_inference_steps": 4}


def test_repainting_beside_kept_pixels_starts_from_half_of_the_schedule():
    """A lower strength would leave the region as it was."""
    assert inpainting(0.2, 20)["strength"] == 0.5
    assert inpainting(0.85, 20)["strength"] == 0.85
