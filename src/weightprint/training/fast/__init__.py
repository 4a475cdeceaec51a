"""Training of our small networks on a CPU, several images at once in every register.

Layers with few channels leave most of a vector register empty when its lanes are channels or pixels. Here the lanes
are images: a register of L lanes holds the same pixel of the same channel of L images, so that any number of channels
fills it, and a weight is one number that is copied to all lanes. Everything follows from this layout:

    images and activations  [G, H, C, W, L]  G groups of L images, rows, channels, columns
    features                [F, N]           N = G · L images, the lanes of a vector again
    weights                 as torch has them: [output, input, K, K] and [output, input]

All arrays are flat. A batch that is no multiple of L is filled up with copies of its first image, whose gradients are
set to zero by `mask` [N]: 1 for an image of the batch, 0 for a copy.

From the bottom up: `emit` writes machine instructions, `vector` gives numba a type for one register, `convolution` has
the innermost loops, `block` and `dense` the layers, `rules` the updates, `pixels` the way from bytes to lanes,
`mersenne` random numbers, and `training` puts them together. `choice` says how many lanes and which tiles suit a
processor, `cache` where compiled code is kept.
"""
