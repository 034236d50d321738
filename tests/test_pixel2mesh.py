"""Pixel2Mesh: cameras, network, losses, models, and the localiser, on invented faces; what is wrong is said in a sentence."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from heads import camera, template
from heads.methods.pixel2mesh import backbones, crop, learn, locate, model, network, whole
from heads.methods.pixel2mesh.network import Camera, Shape

SMOKE = learn.PRESETS["registered"]["SMOKE"]


@dataclass(frozen=True)
class Invented:
    """Coloured discs instead of faces: who is larger is brighter. Heads are 100 mm spheres around the origin."""

    count: int = 6
    photographs: int = 2

    def __len__(self) -> int:
        return self.count

    @property
    def head(self) -> dict[str, Tensor]:
        ball = trimesh.creation.icosphere(3, 100.0)
        mean = template.half_sphere().points * 80
        return {
            "head_mm": torch.from_numpy(np.array(ball.vertices)).float(),
            "head_faces": torch.from_numpy(np.array(ball.faces)),
            "mean_mm": torch.from_numpy(mean).float(),
        }

    def of(self, person: int, name: str) -> Tensor:
        scale = 0.9 + 0.04 * person
        face = torch.from_numpy(template.half_sphere().points).float() * 80 * scale
        if name in ("face", "points"):
            return face
        if name == "normals":
            return face / face.norm(dim=1, keepdim=True)
        if name == "landmarks_mm":
            return scale * torch.tensor([[-30.0, 20, 70], [30, 20, 70], [0, -10, 80], [-20, -40, 70], [20, -40, 70], [0, 0, 85]])
        poses = [camera.look_at(np.array([x, 0.0, 700.0]), np.zeros(3), np.array([0.0, 1.0, 0.0])) for x in (-100.0, 100.0)]
        intrinsics = np.array([[180.0, 0, 47.5], [0, 180, 47.5], [0, 0, 1]])
        if name == "px_from_mm":
            return torch.from_numpy(np.stack([intrinsics @ np.linalg.inv(pose)[:3] for pose in poses])).float()
        assert name == "pictures"
        row, column = np.mgrid[0:96, 0:96]
        disc = np.hypot(row - 47.5, column - 47.5) < 21 * scale
        grey = np.where(disc, 120 + 20 * person, 40)[..., None].repeat(3, axis=2)
        return torch.from_numpy(np.stack([grey, grey]).astype(np.uint8))


FACES = Invented()


@pytest.fixture(scope="module", params=["mean", "ridge", "published", "registered", "components"])
def learned(request: pytest.FixtureRequest) -> model.Model:
    config = replace(learn.PRESETS["registered"]["SMOKE"], steps=2, whole_steps=1)
    if request.param == "published":
        config = replace(learn.PRESETS["published"]["SMOKE"], steps=2)
    return model.learned(request.param, "invented", FACES, config)[0]


# ---- cameras and crops


def test_a_crop_shows_a_place_where_its_camera_sees_it() -> None:
    px_from_cam, mm_from_cam = camera.decompose(FACES.of(0, "px_from_mm")[0].double().numpy())
    made = crop.around(px_from_cam, mm_from_cam, np.array([5.0, -8.0, 70.0]))
    assert np.allclose(made.mm_from_frame[:3, 3], [5, -8, 70])
    row, column = np.mgrid[0:96, 0:96]
    ramp = torch.from_numpy(np.stack([column, row, 0 * row], axis=2).astype(np.uint8))[None]
    images, seen = crop.cut(ramp, [made], 64)
    place_mm = torch.tensor([[20.0, 10.0, 60.0]])
    at = seen.project(crop.in_frame(place_mm, made)[None])[0, 0]
    true = camera.project(torch.from_numpy(px_from_cam), torch.from_numpy(mm_from_cam), place_mm.double())[0]
    found = images[0, :2, round(float(at[1])), round(float(at[0]))] * 255
    assert torch.allclose(found.double(), true, atol=0.8)


def test_an_orthographic_camera_sees_a_point_in_the_same_place_however_far_away_it_is() -> None:
    matrix = torch.tensor([[[10.0, 0, 0, 31.5], [0, -10, 0, 31.5], [0, 0, 0, 1]]])
    seen = Camera(matrix, 64).project(torch.tensor([[[1.0, 2.0, 0.0], [1.0, 2.0, 5.0]]]))
    assert seen[0].tolist() == [[41.5, 11.5], [41.5, 11.5]]


def test_features_are_looked_up_where_the_camera_sees_the_vertex() -> None:
    size = 32
    row, column = torch.meshgrid(torch.arange(size / 4), torch.arange(size / 4), indexing="ij")
    maps = [torch.stack([column * 4 + 1.5, row * 4 + 1.5])[None]]  # a map of a quarter: its values are the pixels they stand for
    matrix = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]])
    found = network.pooled(maps, Camera(matrix, size), torch.tensor([[[10.0, 20.0, 0.0], [5.5, 9.5, 3.0]]]))
    assert torch.allclose(found[0], torch.tensor([[10.0, 20.0], [5.5, 9.5]]), atol=1e-4)


def test_a_large_picture_is_shrunk_so_that_nothing_is_left_out_and_seen_in_the_same_place() -> None:
    px_from_cam, mm_from_cam = camera.decompose(FACES.of(0, "px_from_mm")[0].double().numpy())
    made = crop.around(np.diag([20.0, 20, 1]) @ px_from_cam, mm_from_cam, np.array([5.0, -8.0, 70.0]))
    row, column = np.mgrid[0:1920, 0:1920]
    stripes = np.where(column % 2, 255, 0)  # grey, from afar
    large = np.stack([column / 8, row / 8, stripes], axis=2).astype(np.uint8)
    near, there = crop.shrunk(large, made, 64)
    assert max(near.shape) < 400
    images, _ = crop.cut(torch.from_numpy(near)[None], [there], 64)
    straight, _ = crop.cut(torch.from_numpy(large)[None], [made], 64)
    assert float((images[0, :2] - straight[0, :2]).abs().max()) < 0.02 and float((images[0, 2] - 0.5).abs().max()) < 0.05


def test_rays_of_several_photographs_meet_where_the_face_is() -> None:
    place, seen = np.array([12.0, -5.0, 60.0]), []
    for shot in range(2):
        px_from_cam, mm_from_cam = camera.decompose(FACES.of(0, "px_from_mm")[shot].double().numpy())
        pixel = camera.project(*(torch.from_numpy(x) for x in (px_from_cam, mm_from_cam, place[None])))[0].numpy()
        seen.append((px_from_cam, mm_from_cam, pixel))
        assert np.allclose(crop.around_pixel(*seen[-1], np.linalg.norm(place - mm_from_cam[:3, 3])).mm_from_frame[:3, 3], place)
    assert np.allclose(crop.met(seen), place, atol=1e-6)


def test_in_a_unit_sphere_a_ray_ends_half_a_radius_before_the_centre() -> None:
    sphere = np.diag([200.0, 200, 200, 1])
    px_from_cam, mm_from_cam = (
        np.diag([500.0, 500, 1]),
        camera.look_at(np.array([0, 0, 900.0]), np.zeros(3), np.array([0.0, 1, 0])),
    )
    found = crop.distance_in_sphere(px_from_cam, mm_from_cam, np.zeros(2), sphere)
    assert found == pytest.approx(900 - crop.MIDDLE_OF_SPHERE * 200)


# ---- the network


def test_the_place_of_a_new_vertex_on_its_edge_is_learned_and_clamped() -> None:
    made = network.Network(Shape((8,), 1, (8, 8), crop=32), template.half_sphere())
    values = torch.randn(2, 141, 3)
    one, other = (values[:, made.levels[1].parents[:, end]] for end in (0, 1))
    for place, expected in ((0.5, (one + other) / 2), (-3.0, one), (7.0, other)):
        made.middles[0].data.fill_(place)
        assert torch.allclose(made.unpooled(values, 1)[:, 141:], expected, atol=1e-6)


@pytest.mark.parametrize("posed", [False, True])
def test_all_levels_get_gradients_through_to_the_encoder(posed: bool) -> None:
    made = network.Network(Shape((8, 8), 1, (8, 8, 8, 8), looked_up=8, crop=32, posed=posed), template.half_sphere())
    images = torch.rand(2, 3, 32, 32)
    matrix = torch.tensor([[13.0, 0, 0, 15.5], [0, -13, 0, 15.5], [0, 0, 0, 1]]).expand(2, -1, -1)
    found = made(images, Camera(matrix, 32))
    assert [points.shape[1] for points in found] == [141, 492, 1824, 7008]
    found[-1].square().sum().backward()
    missing = [name for name, parameter in made.named_parameters() if parameter.grad is None]
    assert missing == (["recognised.weight", "recognised.bias"] if posed else [])  # those have a loss of their own


def test_a_pose_of_zeros_leaves_points_and_any_pose_keeps_their_distances() -> None:
    points = torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(network.posed(points, torch.zeros(1, 9)), points, atol=1e-6)
    moved = network.posed(points, torch.randn(1, 9, generator=torch.Generator().manual_seed(1)))
    assert torch.allclose((moved[:, 1:] - moved[:, :-1]).norm(dim=2), (points[:, 1:] - points[:, :-1]).norm(dim=2), atol=1e-5)


def test_the_mirror_image_of_a_face_is_registered_too() -> None:
    half = template.half_sphere()
    made = learn.mirror(torch.from_numpy(half.points), half.levels[-1].faces)
    points = torch.from_numpy(half.points).float()
    skew = points + 0.1 * points[:, :1] * torch.tensor([0.0, 1.0, 0.0])  # higher at one side
    other = points - 0.1 * points[:, :1] * torch.tensor([0.0, 1.0, 0.0])
    for found, true in ((made(points), points), (made(skew), other)):  # but for vertices on the rim, which is not symmetric
        assert float((found - true).norm(dim=1).median()) < 0.002 and float((found - true).norm(dim=1).mean()) < 0.01


@pytest.mark.parametrize(("name", "parameters"), [("resnet50", 23_508_032), ("vgg16", 14_714_688)])
def test_encoders_of_others_have_their_published_sizes_and_take_their_weights(name: str, parameters: int, tmp_path: Path) -> None:
    made = backbones.made(name)
    assert sum(parameter.numel() for parameter in made.parameters()) == parameters  # torchvision's, less the classification
    maps = made(torch.rand(1, 3, 64, 64))
    assert [values.shape[1] for values in maps] == list(backbones.CHANNELS[name])
    assert [values.shape[2] for values in maps] == [16, 8, 4, 2]
    weights = {key: torch.full_like(value, 0.01) for key, value in made.state_dict().items()}
    torch.save(weights | {"fc.weight": torch.zeros(3)}, tmp_path / "weights.pth")
    backbones.load(made, tmp_path / "weights.pth")
    first = next(iter(made.state_dict()))
    assert float(made.state_dict()[first].flatten()[0]) == pytest.approx(0.01)
    torch.save({first: torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"other.pth: {first} is \(1,\); .* needs"):
        backbones.load(made, tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"broken.pth: not a state dict that can be read"):
        backbones.load(made, tmp_path / "broken.pth")
    with pytest.raises(FileNotFoundError, match=r"none.pth: no such file; expected the weights of"):
        backbones.load(made, tmp_path / "none.pth")


def test_a_network_with_the_encoder_of_others_is_trained_and_restored(tmp_path: Path) -> None:
    torch.save(backbones.made("resnet50").state_dict(), tmp_path / "weights.pth")
    shape = Shape((8, 8, 8, 8), 1, backbones.CHANNELS["resnet50"], crop=32, encoder="resnet50")
    config = replace(learn.PRESETS["published"]["SMOKE"], shape=shape, steps=1, weights=str(tmp_path / "weights.pth"))
    made, _ = model.learned("published", "one", FACES, config)
    again = model.restored(made.tensors, model.about("published", config), "here")
    where, picture = learn.crop_of(FACES, 0, 0, learn.EXACT), FACES.of(0, "pictures")[0].numpy()
    assert np.isfinite(model.levels_mm(again, picture, where)[-1]).all()
    with pytest.raises(ValueError, match="of which the last two have channels of their own"):
        replace(shape, channels=(8, 8, 8, 8))
    with pytest.raises(ValueError, match="weights: our own encoder begins with random ones"):
        learn.Config(weights="some.pth")


# ---- losses


def test_losses_of_the_truth_itself_vanish() -> None:
    config = replace(learn.PRESETS["published"]["SMOKE"], points=7008)
    batch = learn.draw(
        FACES, [(0, 0), (3, 1)], replace(config, jitter_mm=0.0, depth_jitter_mm=0.0), torch.Generator().manual_seed(0)
    )
    half = template.half_sphere()
    found = [batch.vertices[:, : level.count] for level in half.levels]
    exact = learn.Batch(batch.images, batch.camera, batch.vertices, batch.shapes, batch.vertices, batch.normals)
    terms = learn.published_losses(found, found, exact, half, replace(config, chamfer_levels=(0.0, 0.0, 0.0, 1.0)))
    assert float(terms["chamfer"]) < 1e-10 and float(terms["laplace"]) < 1e-10 and float(terms["move"]) == 0
    placed = network.Placed([], batch.shapes, batch.vertices)
    assert all(float(value) < 1e-5 for value in learn.registered_losses(found, placed, batch).values())


def test_chamfer_counts_the_way_from_the_mesh_for_less() -> None:
    half = template.half_sphere()
    points = torch.from_numpy(half.points).float()[None]
    found = [points[:, : level.count] for level in half.levels]
    config = replace(learn.PRESETS["published"]["SMOKE"], chamfer_levels=(0.0, 0.0, 0.0, 1.0))

    def chamfer(true: Tensor, opposite: float) -> float:
        batch = learn.Batch(torch.zeros(1), Camera(torch.zeros(1, 3, 4), 1), points, points, true, torch.ones_like(true))
        return float(learn.published_losses(found, found, batch, half, replace(config, opposite=opposite))["chamfer"])

    more = torch.cat([points, points + torch.tensor([0.0, 0, 5.0])], dim=1)  # which no vertex is near
    less = points[:, points[0, :, 0] > 0]  # which half of the vertices are not near
    assert chamfer(more, 0.5) == pytest.approx(chamfer(more, 1.0)) and chamfer(more, 1.0) > 1
    assert chamfer(less, 1.0) == pytest.approx(2 * chamfer(less, 0.5), rel=1e-4) and chamfer(less, 1.0) > 0.01


def test_the_nearest_are_those_that_all_distances_give() -> None:
    one, other = torch.randn(2, 30, 3), torch.randn(2, 40, 3)
    there, back = learn.nearest(one, other)
    assert torch.equal(there, torch.cdist(one, other).argmin(dim=2)) and torch.equal(back, torch.cdist(other, one).argmin(dim=2))


@pytest.mark.parametrize("kind", ["published", "registered"])
def test_training_goes_on_where_it_was_interrupted(kind: str) -> None:
    config = replace(learn.PRESETS[kind]["SMOKE"], steps=4, whole_steps=2 if kind == "registered" else 0)
    kept: dict[int, dict[str, Tensor]] = {}

    def keep(step: int, total: int, terms: dict[str, float], state: learn.training.StateOf) -> None:
        kept[step] = {name: value.clone() for name, value in state().items()}

    full, history = model.learned(kind, "one", FACES, config, on_step=keep)
    again, again_history = model.learned(kind, "one", FACES, config, resume=kept[2])
    assert all(torch.equal(full.tensors[name], again.tensors[name]) for name in full.tensors) and history == again_history


def test_registered_training_learns_which_vertex_is_seen_where() -> None:
    config = replace(SMOKE, steps=60, whole_steps=50, pictures=6, components=2, disturbed=False)
    _, history = model.learned("registered", "one", FACES, config)
    assert history[4]["recognised"] < 0.5 * history[0]["recognised"], history


# ---- models


def test_every_kind_of_model_makes_four_levels_about_where_the_face_is(learned: model.Model) -> None:
    picture = FACES.of(2, "pictures")[0].numpy()
    levels = model.levels_mm(learned, picture, learn.crop_of(FACES, 2, 0, learn.EXACT))
    assert [len(points) for points in levels] == [141, 492, 1824, 7008]
    assert np.linalg.norm(levels[-1].mean(axis=0) - FACES.of(2, "face").mean(dim=0).numpy()) < 80
    assert model.surface(levels[1]).faces.shape == (840, 3)


def test_a_model_is_restored_from_what_its_checkpoint_says(learned: model.Model) -> None:
    config = replace(SMOKE) if learned.kind != "published" else learn.PRESETS["published"]["SMOKE"]
    again = model.restored(learned.tensors, model.about(learned.kind, config), "here")
    crop_of = learn.crop_of(FACES, 0, 0, learn.EXACT)
    picture = FACES.of(0, "pictures")[0].numpy()
    assert np.array_equal(model.levels_mm(learned, picture, crop_of)[-1], model.levels_mm(again, picture, crop_of)[-1])


def test_a_checkpoint_of_something_else_or_of_another_size_is_refused_in_a_sentence(learned: model.Model) -> None:
    with pytest.raises(ValueError, match=r"here: not a model of faces \('localiser'\); expected one of mean, "):
        model.restored(learned.tensors, {"kind": "localiser"}, "here")
    broken = {**learned.tensors, "points": learned.tensors["points"][:100]}
    with pytest.raises(ValueError, match="here: its points are not those of a template of 7008 vertices"):
        model.restored(broken, {"kind": learned.kind}, "here")
    if learned.shape:
        other = {"kind": learned.kind, "shape": {**vars(learned.shape), "channels": (16, 16, 16, 16)}}
        with pytest.raises(ValueError, match=r"here: .* is .*, and the network that it describes needs"):
            model.restored(learned.tensors, other, "here")


def test_only_registered_vertices_become_a_whole_head(learned: model.Model) -> None:
    face = 1.1 * FACES.head["mean_mm"].double().numpy()
    if learned.kind == "published":
        with pytest.raises(ValueError, match="expected registered ones"):
            model.head_mm(learned, face)
        return
    head = model.head_mm(learned, face)
    assert np.linalg.norm(head.vertices, axis=1) == pytest.approx(np.full(len(head.vertices), 110.0), rel=1e-3)


def test_a_bend_of_the_face_leaves_the_back_of_the_head() -> None:
    mean, ball = FACES.head["mean_mm"].double().numpy(), FACES.head["head_mm"].double().numpy()
    bent = mean + [0, 0, 6.0] * (np.linalg.norm(mean - [0, 0, 80], axis=1) < 25)[:, None]  # a nose
    made = whole.head_mm(bent, mean, ball, FACES.head["head_faces"].numpy())
    moved = np.linalg.norm(made.vertices - ball, axis=1)
    assert moved[ball[:, 2] > 97].min() > 2.5 and moved[ball[:, 2] < -20].max() < 2.0


def test_components_fitted_to_a_scan_of_one_of_theirs_find_it() -> None:
    made, _ = model.learned("components", "all", FACES, SMOKE)
    true = FACES.of(4, "face").numpy().astype(float)
    scan = trimesh.Trimesh(true, template.half_sphere().levels[-1].faces, process=False)
    found = model.oracle_mm(made, scan, FACES.of(4, "landmarks_mm").numpy(), np.arange(len(true)))
    assert np.linalg.norm(found - true, axis=1).mean() < 0.5


def test_a_shape_with_wrong_sizes_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8 as channels"):
        Shape((8,), 1, (12,), crop=32)
    with pytest.raises(ValueError, match="needs as many levels; the template has 4"):
        network.Network(Shape((8,) * 5, 1, (8,), crop=32), template.half_sphere())
    with pytest.raises(ValueError, match="target must be one of surface, registered, not 'points'"):
        learn.Config(target="points")


# ---- the localiser


class Seeing(locate.Locator):
    """A localiser that knows: bright squares are faces, as large as they are wide."""

    def __init__(self) -> None:
        super().__init__(locate.SMOKE)

    def forward(self, pictures: Tensor) -> Tensor:
        bright = (pictures.mean(dim=1) > 0.7).float()
        cells = torch.nn.functional.avg_pool2d(bright[:, None], 8)[:, 0]
        found = torch.zeros(len(pictures), locate._OUTPUTS, *cells.shape[1:])
        found[:, 0] = torch.where(cells > 0, 8 * torch.nn.functional.avg_pool2d(cells[:, None], 3, 1, 1)[:, 0] - 2, -5.0)
        side = (bright.sum(dim=(1, 2)).sqrt() / 8).clamp(min=0.5)
        found[:, 3] = side.log()[:, None, None]
        marks = torch.tensor([[-0.2, -0.2], [0.2, -0.2], [0, 0.1], [-0.1, 0.3], [0.1, 0.3], [0, 0]])
        found[:, 4:] = marks.flatten()[None, :, None, None]
        return found


def picture_with(*squares: tuple[int, int, int], size: int = 120) -> np.ndarray:
    made = np.full((size, size, 3), 60, dtype=np.uint8)
    for x, y, side in squares:
        made[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = 250
    return made


def test_one_face_is_found_where_it_is() -> None:
    face = locate.the_face(Seeing(), picture_with((50, 70, 40)), "a.jpg")
    assert np.linalg.norm(face.middle_px - [50, 70]) < 10 and 30 < face.side_px < 55 and abs(face.roll_degrees) < 1


def test_no_face_two_faces_and_a_tiny_picture_get_a_sentence() -> None:
    with pytest.raises(
        ValueError, match=r"^a.jpg: no face was found; expected one that looks about towards the camera and fills"
    ):
        locate.the_face(Seeing(), picture_with(), "a.jpg")
    with pytest.raises(ValueError, match=r"^a.jpg: 2 faces were found, at .* px; expected one, so cut the picture about it$"):
        locate.the_face(Seeing(), picture_with((30, 30, 30), (90, 90, 30)), "a.jpg")
    with pytest.raises(ValueError, match=r"^a.jpg: a picture of 20 x 20 pixels; expected at least 32 a side$"):
        locate.the_face(Seeing(), picture_with(size=20), "a.jpg")


def test_a_turned_picture_gets_a_sentence() -> None:
    class Upright(Seeing):
        """One that sees a face only in what is greener on the right than on the left."""

        def forward(self, pictures: Tensor) -> Tensor:
            greener, half = pictures[:, 1] - pictures[:, 0], pictures.shape[3] // 2
            found = super().forward(pictures)
            found[greener[:, :, half:].mean(dim=(1, 2)) < greener[:, :, :half].mean(dim=(1, 2)) + 0.05, 0] = -5.0
            return found

    turned = picture_with((60, 60, 40))
    turned[:, :, 1] = np.linspace(120, 60, 120)[None].astype(np.uint8)
    turned[40:80, 40:80] = 250
    with pytest.raises(ValueError, match=r"a.jpg: the picture is turned upside down; expected an upright one"):
        locate.the_face(Upright(), turned, "a.jpg")
    assert locate.the_face(Upright(), np.ascontiguousarray(np.rot90(turned, 2)), "a.jpg")
    face = locate.Face(np.zeros(2), 100.0, np.array([[20.0, -20], [20, 20], [-5, 0], [-30, -10], [-30, 10], [0, 0]]), 1.0)
    assert face.roll_degrees == pytest.approx(90)


def test_what_canvases_say_of_faces_is_where_they_are() -> None:
    config = replace(locate.SMOKE, pictures=40)
    pictures, said, there = locate.canvases(FACES, config, torch.Generator().manual_seed(0))
    assert pictures.shape == (40, 3, 64, 64) and float(pictures.min()) >= 0 and float(pictures.max()) <= 1
    assert int((~there.any(dim=1)).sum()) >= 2 and int(there.all(dim=1).sum()) >= 2
    middles = said[..., :2]
    landmarks = said[..., 3:].unflatten(2, (6, 2)).mean(dim=2)
    assert torch.allclose(middles[there], landmarks[there], atol=2.0)


def test_training_a_localiser_lowers_its_losses_and_it_is_restored() -> None:
    config = replace(locate.SMOKE, steps=30)
    tensors, history = locate.train("one", FACES, config)
    assert sum(history[-1].values()) - 29 < sum(history[0].values())
    said = {"kind": "localiser", "config": vars(config)}
    assert isinstance(locate.restored(tensors, said, "here"), locate.Locator)
    with pytest.raises(ValueError, match=r"here: not a localiser \('mean'\)"):
        locate.restored(tensors, {"kind": "mean"}, "here")
    with pytest.raises(ValueError, match=r"here: .* of the localiser is .*, and what it says of itself needs"):
        locate.restored(tensors, {"kind": "localiser", "config": {**vars(config), "width": 24}}, "here")
