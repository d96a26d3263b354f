"""The engine patch with its one slow step left out, for tests that need any picture rather than a good one."""

import numpy as np

from ipy_imgvar.engines.patch.synthesis import Picture


def rolled(scene, settings, *, numbers, progress=None, check=None, **_):
    """Yield pictures in the form of `synthesis.synthesise`: the source, rolled as far as seed and number say.

    A picture takes under a millisecond where an arrangement takes 200 to 1,000. Request, fit, size, warnings,
    deadline, PNG and what is noted in it stay the engine's own.
    """
    source, keep = scene.source, scene.keep
    rows, cols = (
        np.arange(side) * had // side for side, had in zip(scene.shape, source.shape[:2], strict=True)
    )
    whole = source[rows][:, cols]
    for done, number in enumerate(numbers, start=1):
        if check:
            check()
        shift = np.random.default_rng((settings.seed, number)).integers(1, np.maximum(2, whole.shape[:2]))
        picture = np.roll(whole, shift, axis=(0, 1))
        if keep is not None:
            picture = np.where(keep[:, :, None], whole, picture)
        if picture.shape[2] == 4:
            alpha = picture[:, :, 3:]
            colours = np.divide(
                picture[:, :, :3], alpha, out=np.zeros_like(picture[:, :, :3]), where=alpha > 0
            )
            picture = np.concatenate([colours, alpha], axis=2)
        yield Picture(np.round(picture * 255).astype(np.uint8), "arrangement")
        if progress:
            progress(done / len(numbers), f"{done} of {len(numbers)}")
