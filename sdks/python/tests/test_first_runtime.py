"""The module of the first Python runtime: its rules, texts and values."""

import copy
import dataclasses
import os
import pickle
import subprocess
import sys
import unittest

from first_runtime_plugins import REFUSED, manifest, plugin
from raw_client import SDK, Folder

sys.path.insert(0, SDK)

import kodex_plugin_system  # noqa: E402
from kodex_plugin_system import (  # noqa: E402
    CapabilityRegistry,
    HookExecutionError,
    LoadDiagnostic,
    Plugin,
    PluginError,
    PluginLoadError,
    PluginManager,
    PluginManifest,
    PluginValidationError,
)


class Manifest(unittest.TestCase):
    def test_it_is_a_frozen_value(self):
        one = PluginManifest("a", "1", "d", ("c",))
        self.assertEqual(
            one, PluginManifest(name="a", version="1", description="d", capabilities=("c",))
        )
        self.assertEqual(hash(one), hash(PluginManifest("a", "1", "d", ("c",))))
        self.assertNotEqual(one, PluginManifest("a", "1", "d"))
        self.assertNotEqual(one, ("a", "1", "d", ("c",)))
        self.assertEqual(PluginManifest("a", "1", "d").capabilities, ())
        want = "PluginManifest(name='a', version='1', description='d', capabilities=('c',))"
        self.assertEqual(repr(one), want)
        for change in (lambda: setattr(one, "name", "b"), lambda: delattr(one, "name")):
            with self.assertRaisesRegex(dataclasses.FrozenInstanceError, "field 'name'"):
                change()
        with self.assertRaises(TypeError):
            PluginManifest("a", "1")

    def test_the_tools_of_data_classes_work(self):
        one = PluginManifest("a", "1", "d")
        self.assertTrue(dataclasses.is_dataclass(one))
        names = [field.name for field in dataclasses.fields(PluginManifest)]
        self.assertEqual(names, ["name", "version", "description", "capabilities"])
        self.assertEqual(dataclasses.replace(one, version="2"), PluginManifest("a", "2", "d"))
        self.assertEqual(dataclasses.asdict(one), vars(one))
        self.assertEqual(pickle.loads(pickle.dumps(one)), one)
        self.assertEqual(copy.deepcopy(one), one)

    def test_it_can_be_the_parent_of_a_data_class(self):
        @dataclasses.dataclass(frozen=True)
        class More(PluginManifest):
            homepage: str = ""

        more = More(" a ", "1", "d", homepage="h")
        self.assertEqual((more.name, more.homepage), (" a ", "h"))
        self.assertEqual(type(more.normalized()), PluginManifest)

    def test_it_is_normalised(self):
        one = PluginManifest(" a\t", " 1 ", "\nd ", (" b ", "a", "", "  ", "a", "b"))
        self.assertEqual(one.normalized(), PluginManifest("a", "1", "d", ("a", "b")))
        self.assertEqual(
            PluginManifest("a", "1", "d", ["z", "y"]).normalized().capabilities, ("y", "z")
        )

    def test_what_is_missing_is_named_in_order(self):
        for fields, text in [
            ((" ", "", ""), "Plugin manifest name must be non-empty"),
            (("a", " ", ""), "Plugin 'a' must define a version"),
            (("a", "1", "\t"), "Plugin 'a' must define a description"),
        ]:
            with self.assertRaises(PluginValidationError) as raised:
                PluginManifest(*fields).validate()
            self.assertEqual(str(raised.exception), text)
        self.assertIsNone(PluginManifest("any Näme!", "not semver", "d").validate())


class Loading(unittest.TestCase):
    def load(self, sources, **options):
        """A manager that loaded files with these sources, and the names of the files."""
        folder = Folder()
        self.addCleanup(folder.cleanup)
        files = [folder.write(f"p{number:03}.py", text) for number, text in enumerate(sources)]
        manager = PluginManager(**options)
        return manager, manager.load_file_plugins(folder.name), files

    def test_what_is_refused_and_why(self):
        for source, code, text in REFUSED:
            with self.subTest(source):
                manager, n_loaded, (file,) = self.load([source], default_context={"org": 1})
                status = "skipped" if code == "no_get_plugin" else "error"
                self.assertEqual(manager.diagnostics, (LoadDiagnostic(file, "-", status, text),))
                self.assertEqual((n_loaded, manager.plugins), (0, ()))

    def test_a_loaded_plugin_has_its_normalised_manifest(self):
        source = plugin(manifest(" a ", " 1 ", " d ", (" z ", "b", "")))
        manager, n_loaded, (file,) = self.load([source])
        self.assertEqual(n_loaded, 1)
        self.assertEqual(manager.list_manifests(), (PluginManifest("a", "1", "d", ("b", "z")),))
        self.assertEqual(manager.diagnostics, (LoadDiagnostic(file, "a", "loaded", "ok"),))

    def test_the_second_of_a_name_is_refused_before_it_is_activated(self):
        loud = "    def activate(self, c): raise SystemError('activated')\n"
        loud += "    def handle_hook(self, h, p): pass\n"
        manager, n_loaded, _ = self.load([plugin(), plugin(manifest(" x "), loud)])
        self.assertEqual(n_loaded, 1)
        self.assertEqual(manager.diagnostics[1].message, "Duplicate plugin name 'x' is not allowed")

    def test_strict_loading_raises_at_the_first_error(self):
        with self.assertRaises(PluginLoadError) as raised:
            self.load(["x = 1\n", "1/0\n", plugin()], continue_on_error=False)
        text = str(raised.exception)
        self.assertRegex(
            text, r"^Failed to load plugin from .*p001\.py: division by zero\nTraceback"
        )
        self.assertIsInstance(raised.exception.__cause__, ZeroDivisionError)

    def test_files_with_an_underscore_and_other_files_are_passed_over(self):
        folder = Folder()
        self.addCleanup(folder.cleanup)
        for name in ("_hidden.py", "notes.txt", "b.py", "a.py"):
            folder.write(name, plugin(manifest(name[0])))
        manager = PluginManager()
        self.assertEqual(manager.load_file_plugins(folder.name), 2)
        self.assertEqual([one.name for one in manager.list_manifests()], ["a", "b"])
        self.assertEqual(os.listdir(folder.name).count("__pycache__"), 0)

    def test_a_folder_that_is_not_there_is_a_diagnostic(self):
        manager = PluginManager()
        self.assertEqual(manager.load_file_plugins("/no/such/folder"), 0)
        want = LoadDiagnostic("/no/such/folder", "-", "skipped", "plugin directory missing")
        self.assertEqual(manager.diagnostics, (want,))

    def test_a_plugin_file_may_define_data_classes(self):
        source = "from __future__ import annotations\nimport dataclasses\n"
        source += "@dataclasses.dataclass\nclass D:\n    a: str = ''\n"
        manager, n_loaded, _ = self.load([source + plugin()])
        self.assertEqual(n_loaded, 1, manager.diagnostics)

    def test_installed_packages_are_found_by_entry_point(self):
        folder = Folder()
        self.addCleanup(folder.cleanup)
        folder.write("some_package.py", plugin(manifest("installed")) + "\nbad = 5\n")
        folder.write("some_package-1.dist-info/METADATA", "Name: some-package\nVersion: 1\n")
        points = "[kodex.plugins]\ngood = some_package:P\nbad = some_package:bad\n"
        folder.write("some_package-1.dist-info/entry_points.txt", points)
        sys.path.insert(0, folder.name)
        self.addCleanup(sys.path.remove, folder.name)
        manager = PluginManager()
        self.assertEqual(manager.load_entry_point_plugins(), 1)
        found = {
            one.source: (one.plugin_name, one.status, one.message) for one in manager.diagnostics
        }
        self.assertEqual(found["entrypoint:good"], ("installed", "loaded", "ok"))
        self.assertEqual(found["entrypoint:bad"], ("-", "error", "'int' object is not callable"))


class Echo:
    def __init__(self, name="echo", capabilities=()):
        self.manifest = PluginManifest(name, "1", "d", capabilities)
        self.context = None

    def activate(self, context):
        self.context = context

    def handle_hook(self, hook, payload):
        if "raise" in payload:
            raise ValueError(payload["raise"])
        return payload.get("reply")


class Calling(unittest.TestCase):
    def test_contexts_are_merged(self):
        manager, echo = PluginManager(default_context={"a": 1, "b": 1}), Echo()
        manager.register(echo, context={"b": 2})
        self.assertEqual(echo.context, {"a": 1, "b": 2})
        self.assertEqual(manager.diagnostics, (LoadDiagnostic("runtime", "echo", "loaded", "ok"),))

    def test_register_lets_errors_through_without_a_diagnostic(self):
        manager = PluginManager()
        with self.assertRaises(PluginValidationError):
            manager.register(object())
        self.assertEqual((manager.diagnostics, manager.plugins), ((), ()))

    def test_replies_are_gathered_as_they_are(self):
        manager = PluginManager()
        manager.register(Echo("one"))
        manager.register(Echo("two", ("never.consulted",)))
        for reply, want in [(None, []), ({}, [{}, {}]), (0, [0, 0]), ([1], [[1], [1]])]:
            self.assertEqual(manager.emit("h", {"reply": reply}), want)

    def test_failures_are_gathered_or_raised(self):
        manager = PluginManager()
        manager.register(Echo())
        self.assertEqual(
            manager.emit("h", {"raise": "no"}), [{"plugin": "echo", "error": "no", "hook": "h"}]
        )
        with self.assertRaises(HookExecutionError) as raised:
            manager.emit("h", {"raise": "no"}, fail_fast=True)
        self.assertEqual(str(raised.exception), "Plugin 'echo' failed on hook 'h': no")

    def test_the_report(self):
        manager = PluginManager()
        manager.register(Echo("b"))
        manager.register(Echo("a"), source="here")
        row = {"status": "loaded", "message": "ok"}
        want = {
            "plugin_count": 2,
            "plugin_names": ["a", "b"],
            "diagnostics": [
                {"source": "runtime", "plugin_name": "b", **row},
                {"source": "here", "plugin_name": "a", **row},
            ],
        }
        self.assertEqual(manager.doctor_report(), want)

    def test_the_capability_index(self):
        one, two = Echo("one", ("b", "a")), Echo("two", ("b",))
        registry = CapabilityRegistry()
        registry.index_many([one, two])
        self.assertEqual(registry.all_capabilities(), ("a", "b"))
        self.assertEqual(registry.get("b"), (one, two))
        self.assertEqual(registry.get("none"), ())
        self.assertEqual(registry.describe(), {"a": ["one"], "b": ["one", "two"]})


class Names(unittest.TestCase):
    def test_every_old_name_is_there(self):
        namespace = {}
        exec("from kodex_plugin_system import *", namespace)
        for name in kodex_plugin_system.__all__:
            self.assertIn(name, namespace)
        self.assertEqual(len(kodex_plugin_system.__all__), 9)
        for error in (PluginValidationError, PluginLoadError, HookExecutionError):
            self.assertTrue(issubclass(error, PluginError))
        self.assertTrue(isinstance(Plugin, type))

    def test_submodules_are_attributes(self):
        code = "import kodex_plugin_system as k; k.base, k.errors, k.manager, k.registry"
        environment = {**os.environ, "PYTHONPATH": SDK}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)


if __name__ == "__main__":
    unittest.main()
