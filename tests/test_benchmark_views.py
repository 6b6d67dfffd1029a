"""Views of an image, as the recipes of other projects take them."""

import torch
from benchmarks.views import color_jitter, resized_crop


def test_views_leave_plain_images_plain_and_grey_ones_grey():
    plain = torch.tensor([30, 90, 200], dtype=torch.uint8)[None, :, None, None].expand(40, 3, 8, 8)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(resized_crop(plain, 16, (0.2, 1.0), generator), plain[:, :, :1, :1].expand(40, 3, 16, 16))
    grey = torch.randint(60, 160, (40, 1, 8, 8), generator=generator).to(torch.uint8).expand(40, 3, 8, 8)
    jittered = color_jitter(grey, generator).int()
    assert int((jittered.amax(1) - jittered.amin(1)).max()) <= 1
    assert not torch.equal(jittered, grey.int())


def test_a_crop_of_everything_is_the_image_or_its_mirror_image(monkeypatch):
    images = torch.randint(256, (6, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    monkeypatch.setattr("benchmarks.views.math.log", lambda _: 0.0)  # no other aspect ratio than 1
    views = resized_crop(images, 8, (1.0, 1.0), torch.Generator().manual_seed(1))
    mirrored = (views == images.flip(3)).flatten(1).all(1)
    assert torch.equal(views[~mirrored], images[~mirrored])
    assert 0 < int(mirrored.sum()) < 6
