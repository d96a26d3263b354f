"""The offline engine: patch nearest neighbours, one image in, no weights, no GPU, no key.

The rooms, and which one imports which (a module imports its own room and those below it):

    engine                     a request to pixels and back -> arrays, capabilities, masks, scene, strength
      |
    synthesis                  the pictures of one call, and by which means each is made -> scene, strength
      |
    camera                     a second shot: framing and light -> subjects, arrays
    layers                     a subject larger before its ground -> arrays
    composition                where things go, and which arrangement is taken -> strength
      |
    subjects                   what must stay whole
      |
    matching                   patches, their nearest neighbours, every scale
      |
    arrays                     sizes, masks, threads: no patches

`masks` remembers what a network saw, and what the rooms found out about a source (`arrays.findings`), for the next
calls; `capabilities` and `strength` import no other room. All but `engine`, `capabilities` and `masks` are functions of
arrays and random generators, and have no state between calls.

Where a constant's comment says that it was chosen by eye, that was on photographs of scikit-image, together with the
figures of `benchmarks/engine.py`.
"""
