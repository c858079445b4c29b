"""Few images, and oblong ones: settings that nobody named suit them, the run says so, and keeps what was used."""

from pathlib import Path

import numpy as np
import pytest

from family_runs import discs
from genprior.errors import GenpriorError
from genprior.families import FAMILIES, RunConfig, parse_config
from genprior.images import to_uint8
from genprior.runs.execute import execute
from genprior.runs.prepare import PreparedRun, new_run, resumed_run
from genprior.runs.run_folder import open_run

WIDTHS: dict[str, dict[str, object]] = {  # of networks that take no time
    "flow-matching": {"model": "unet:width=4,levels=1,blocks=1"},
    "gan": {},
    "glo": {},
    "glow": {"levels": 1, "steps": 1, "width": 4},
    "mixture": {"components": 2, "rank": 2},
    "vae": {"model": "dense:width=8,depth=1"},
}
assert WIDTHS.keys() == FAMILIES.keys()


def trained(prepared: PreparedRun) -> PreparedRun:
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return prepared


def config_of(family: str, data: object, **named: object) -> RunConfig:
    given = {"family": family, "data": str(data), "images_seen": 16, "threads": 1, "precision": "float32"}
    return parse_config({**given, **WIDTHS[family], **named})


@pytest.fixture(scope="module")
def oblong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty colour images of 32 x 48 pixels."""
    path = tmp_path_factory.mktemp("few") / "oblong.npy"
    np.save(path, to_uint8(discs(20, (3, 32, 48))).permute(0, 2, 3, 1).numpy())
    return path


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("kind", ["grey", "oblong"])
def test_twenty_images_train_every_family(family: str, kind: str, oblong: Path, tmp_path: Path) -> None:
    data = oblong if kind == "oblong" else "digits[:20]"
    prepared = trained(new_run(tmp_path / "run", config_of(family, data)))
    kept = dict(open_run(tmp_path / "run").config)
    if kept["batch_size"] is not None:
        told = f"batch size 16, and not {dict(config_of(family, 'digits'))['batch_size']}: there are 18 images"
        assert kept["batch_size"] == 16
        assert [note for note in prepared.notes if "batch size" in note and "18 images to learn from" in note]
        assert kind == "oblong" or any(told in note for note in prepared.notes)
    longer = trained(resumed_run(tmp_path / "run", {"images_seen": 40}))
    assert dict(longer.run.config)["batch_size"] == kept["batch_size"]


@pytest.mark.parametrize("family", ["gan", "glo", "vae"])
def test_a_batch_that_was_named_is_not_changed(family: str, tmp_path: Path) -> None:
    usual = dict(config_of(family, "digits"))["batch_size"]
    named = config_of(family, "digits[:20]", batch_size=usual, **({"start": "random"} if family == "glo" else {}))
    with pytest.raises(GenpriorError, match=f"batch_size: {usual} is more than the 18 images"):
        new_run(tmp_path / "run", named)
    assert not (tmp_path / "run").exists()


def test_what_a_preset_gave_was_not_named(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config_of("gan", "digits[:20]", preset="pyramid", size=16)).run
    assert dict(run.config)["batch_size"] == 16
    assert "batch_size" not in config_of("gan", "digits", preset="pyramid").model_fields_set


def test_packs_stay_whole(tmp_path: Path) -> None:
    few = config_of("gan", "digits[:20]", pack=3, batch_size=126).model_copy()
    assert few.for_few(18) == {"batch_size": 15}
    assert few.for_few(5) == {}
    assert few.for_few(1) == {}


def test_codes_have_fewer_numbers_than_there_are_images(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "run", config_of("glo", "digits[:20]"))
    assert dict(prepared.run.config)["latent_size"] == 17
    with pytest.raises(GenpriorError, match="principal components of 18 numbers need 19 images"):
        new_run(tmp_path / "other", config_of("glo", "digits[:20]", latent_size=18))


@pytest.mark.parametrize("family", ["gan", "glo"])
def test_oblong_images_take_the_networks_that_make_them(family: str, oblong: Path, tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "run", config_of(family, oblong))
    assert prepared.run.config.preset == "pyramid"
    assert any("preset pyramid: the networks of" in note and "3x32x48" in note for note in prepared.notes)
    assert prepared.run.config.images_seen == 16
    with pytest.raises(GenpriorError, match=r"dcgan builds square images .* or --model pyramid"):
        new_run(tmp_path / "other", config_of(family, oblong, model="dcgan"))


def test_large_images_take_the_network_of_flow_matching_that_is_made_for_them(tmp_path: Path) -> None:
    for side, preset in ((48, "flow-28"), (56, "flow-64")):
        path = tmp_path / f"{side}.npy"
        np.save(path, to_uint8(discs(20, (3, side, 64))).permute(0, 2, 3, 1).numpy())
        given = {"family": "flow-matching", "data": str(path), "images_seen": 16, "threads": 1, "batch_size": 4}
        prepared = new_run(tmp_path / f"run{side}", parse_config(given))
        config = dict(prepared.run.config)
        assert config["preset"] == preset
        assert config["size"] is None  # the images' own
        assert config["batch_size"] == 4  # as it was named
        assert any("preset flow-64: it is made for" in note for note in prepared.notes) == (preset == "flow-64")
        assert config["learning_rate"] == (0.002 if preset == "flow-64" else 0.001)
        named = new_run(tmp_path / f"named{side}", parse_config({**given, "preset": "flow-28", "size": side}))
        assert named.run.config.preset == "flow-28"
