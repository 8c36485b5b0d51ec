"""Packed objects come out as they went in, and take little."""

import hashlib
import json
import zlib

import pytest

from quantroll.controller.packed import Packer, slim


def pod(name, *, phase="Running", **more):
    spec = {"containers": [{"name": f"c{n}", "image": hashlib.sha256(bytes([n])).hexdigest()} for n in range(20)]}
    return {"metadata": {"name": name}, "spec": spec, "status": {"phase": phase}, **more}


def packed(packer, body, component="serve"):
    return packer.pack("pods", component, slim(body))


@pytest.mark.parametrize("body", [pod("a"), pod("\u00fc\u2028\0"), {"metadata": {}}])
def test_what_is_packed_comes_out_again(body):
    packer = Packer()
    packed(packer, pod("first"))
    assert packed(packer, body).unpacked() == body


def test_managed_fields_are_left_out_and_the_original_is_left_alone():
    body = {"metadata": {"name": "a", "managedFields": [{"manager": "kubectl"}]}, "spec": {}}
    assert packed(Packer(), body).unpacked() == {"metadata": {"name": "a"}, "spec": {}}
    assert "managedFields" in body["metadata"]


def test_objects_of_a_sort_take_next_to_nothing():
    packer = Packer()
    packed(packer, pod("a"))
    second = packed(packer, pod("b"))
    assert len(second.data) * 8 < len(zlib.compress(json.dumps(pod("b")).encode()))


def test_the_same_content_is_equal_and_another_is_not():
    packer = Packer()
    assert packed(packer, pod("a")) == packed(packer, pod("a"))
    assert packed(packer, pod("a")) != packed(packer, pod("a", phase="Failed"))


def test_one_that_is_like_no_other_becomes_the_example():
    packer = Packer()
    packed(packer, {"metadata": {}})
    before = packed(packer, pod("b"))
    assert len(packed(packer, pod("c")).data) * 8 < len(before.data)
    assert before.unpacked() == pod("b"), "what was packed against an older example still opens"


def test_sorts_do_not_spoil_each_other():
    packer = Packer()
    for _ in range(3):
        packed(packer, pod("a"))
        small = packed(packer, pod("j"), "quantize")
    assert len(small.data) < 150


def test_an_object_larger_than_the_window():
    packer = Packer()
    large = pod("a", extra="".join(str(n) for n in range(30_000)))
    assert packed(packer, large).unpacked() == large
    assert packed(packer, large).unpacked() == large
