"""A reader of pickles that runs nothing: names stay names, and only what `builders` lists is built.

The instructions are those of protocols 0 to 5 (Python's pickletools). A class or function in a pickle is a `Name`; a
call of one that no builder stands for becomes an `Unbuilt`, which holds the arguments and the state and does nothing.
No module is imported, no method of a foreign class called, no `__setstate__`, no `__reduce__`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from weightprint.errors import CheckpointError
from weightprint.formats.limits import MAX_PICKLE_STEPS, damaged

_LONGEST_NUMBER = 1024
_OLD_MODULES = {"__builtin__": "builtins", "exceptions": "builtins", "copy_reg": "copyreg"}  # Python 2's names

_MODULES_THAT_RUN_CODE = """
    os posix nt subprocess sys shutil socket pty commands ctypes _ctypes importlib runpy code codeop marshal pickle
    _pickle cloudpickle dill multiprocessing concurrent threading _thread asyncio signal webbrowser urllib http ftplib
    smtplib requests tempfile zipimport pip imp site timeit pdb bdb profile cProfile trace gc inspect platform
    distutils setuptools pydoc atexit
"""
_BUILTINS_THAT_RUN_CODE = """
    eval exec execfile compile open __import__ input breakpoint globals locals vars setattr delattr
"""
_RUNS_CODE = frozenset(_MODULES_THAT_RUN_CODE.split())
_RUNS_CODE_BUILTINS = frozenset(_BUILTINS_THAT_RUN_CODE.split())


@dataclass(frozen=True)
class Name:
    """A class or function by its name; `str` gives "module.name"."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Unbuilt:
    """An object that was not built: its class, and the data that came with it."""

    name: Name
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes by name, as far as its state is a dictionary of them (slots too)."""
        found: dict[str, Any] = {}
        for part in self.state if isinstance(self.state, tuple) else (self.state,):
            if isinstance(part, dict):
                found.update({key: value for key, value in part.items() if isinstance(key, str)})
        return found


class Buildable:
    """A builder's result that a later instruction completes."""

    def build(self, state: Any) -> None:
        """Takes the state that the pickle holds for it."""
        raise NotImplementedError


Builder = Callable[[tuple[Any, ...]], Any]


def _plain_builders() -> dict[str, Builder]:
    def mapping(args: tuple[Any, ...]) -> Any:
        found = args[-1] if args else ()
        return dict(found) if isinstance(found, dict) else {_key(k): v for k, v in found}

    def listing(args: tuple[Any, ...]) -> Any:
        return list(args[0]) if args and isinstance(args[0], (list, tuple, dict)) else []

    def text(args: tuple[Any, ...]) -> Any:
        return "/".join(a for a in args if isinstance(a, str)) or "."

    def encoded(args: tuple[Any, ...]) -> Any:
        return args[0].encode("latin1") if isinstance(args[0], str) else b""

    def number(args: tuple[Any, ...]) -> Any:
        return args[0] if args and isinstance(args[0], (int, float)) else 0

    return {
        **dict.fromkeys(("builtins.dict", "collections.OrderedDict", "collections.Counter"), mapping),
        "collections.defaultdict": lambda args: {},
        **dict.fromkeys(("builtins.list", "builtins.set", "builtins.frozenset"), listing),
        "builtins.tuple": lambda args: tuple(listing(args)),
        **dict.fromkeys(("builtins.int", "builtins.float", "builtins.bool"), number),
        "builtins.bytes": lambda args: args[0] if args and isinstance(args[0], (bytes, memoryview)) else b"",
        "_codecs.encode": encoded,
        **{
            f"{module}.{name}": text
            for module in ("pathlib", "pathlib._local")
            for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")
        },
    }


PLAIN_BUILDERS: Mapping[str, Builder] = _plain_builders()
INERT = frozenset(("argparse.Namespace", "types.SimpleNamespace"))
"""Classes that hold plain attributes alone: they stay unbuilt, and nothing is lost by it."""


class PickleReader:
    """Reads one pickle from `data`, beginning at `start`.

    builders:   "module.name" → function of the arguments, in place of that class or function
    persistent: what stands for a persistent id (a storage, for PyTorch); None where the file can have none
    After `read`, `stop` is the position behind the pickle and `unbuilt` the names of what was not built.
    """

    def __init__(
        self,
        data: memoryview,
        start: int = 0,
        *,
        builders: Mapping[str, Builder] = PLAIN_BUILDERS,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._data = data
        self.stop = start
        self._builders = builders
        self._persistent = persistent
        self.unbuilt: dict[str, int] = {}
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._copied = 0

    def read(self) -> Any:
        """The pickled value; raises CheckpointError for a damaged pickle, one that runs code, or one too long."""
        try:
            for _ in range(MAX_PICKLE_STEPS):
                code = self._data[self.stop]
                self.stop += 1
                if code == 0x2E:  # STOP
                    return self._stack.pop()
                _INSTRUCTIONS[code](self)
        except CheckpointError:
            raise
        except (LookupError, ValueError, TypeError, AttributeError, struct.error, ArithmeticError) as error:
            raise damaged(f"a damaged pickle (at byte {self.stop:,})") from error
        raise CheckpointError(
            f"a pickle of more than {MAX_PICKLE_STEPS:,} instructions",
            hint="save the weights as safetensors: they are read however many they are",
        )

    # What is read from the bytes

    def _take(self, length: int) -> memoryview:
        if length < 0 or self.stop + length > len(self._data):
            raise damaged("a pickle that is cut short")
        self.stop += length
        return self._data[self.stop - length : self.stop]

    def _unsigned(self, length: int) -> int:
        return int.from_bytes(self._take(length), "little")

    def _byte(self) -> int:
        self.stop += 1
        return self._data[self.stop - 1]

    def _line(self) -> str:
        start = self.stop
        for end in range(start, min(len(self._data), start + (1 << 16))):
            if self._data[end] == 0x0A:
                self.stop = end + 1
                return str(self._data[start:end], "utf-8")
        raise damaged("a damaged pickle (a line without an end)")

    def _text(self, length: int) -> None:
        self._stack.append(str(self._take(length), "utf-8", "replace"))

    def _old_text(self, length: int) -> None:  # Python 2's byte strings, names for the most part
        self._stack.append(str(self._take(length), "latin1"))

    def _number(self, length: int) -> None:
        if length > _LONGEST_NUMBER:
            raise damaged("a pickle with a number of more than 1,024 bytes")
        self._stack.append(int.from_bytes(self._take(length), "little", signed=True))

    def _unpacked(self, form: str) -> None:
        self._stack.extend(struct.unpack(form, self._take(struct.calcsize(form))))

    def _whole_line(self) -> None:
        line = self._line().removesuffix("L")
        self._stack.append({"00": False, "01": True}.get(line, int(line) if len(line) <= _LONGEST_NUMBER else None))

    # What is done with the stack

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _gather(self, kind: Callable[[list[Any]], Any]) -> None:
        items = self._since_mark()
        self._stack.append(kind(items))

    def _drop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _protocol(self) -> None:
        if self._byte() > 5:
            raise CheckpointError("a pickle of a protocol after 5", hint="save it with pickle_protocol=2")

    def _tuple(self, length: int) -> None:
        items = tuple(self._stack[-length:])
        if len(items) < length:
            raise damaged("a damaged pickle (a tuple of what is not there)")
        del self._stack[-length:]
        self._stack.append(items)

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        (target.elements if isinstance(target, Unbuilt) else _of(list, target)).extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        into = target.items if isinstance(target, Unbuilt) else _of(dict, target)
        for key, value in zip(items[::2], items[1::2], strict=True):
            into[_key(key)] = value

    def _dictionary(self) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._set_items(items)

    def _name(self, module: str, name: str) -> None:
        self._stack.append(Name(_OLD_MODULES.get(module, module), name))

    def _stacked_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._name(_of(str, module), _of(str, name))

    def _call(self, called: Any, args: Any) -> None:
        if not isinstance(called, Name):  # the result of another call, or data
            called = Name(type(called).__name__ if not isinstance(called, Unbuilt) else str(called.name), "()")
        args = tuple(_of((tuple, list), args))
        if called.module.split(".")[0] in _RUNS_CODE or (
            called.module == "builtins" and called.name.split(".")[0] in _RUNS_CODE_BUILTINS
        ):
            raise CheckpointError(
                f"it calls {called} as soon as it is unpickled; nothing of it was run",
                hint="a file of weights has no reason to do so: do not load it with torch.load or pickle either",
            )
        builder = self._builders.get(str(called))
        if builder is not None:
            built = builder(args)
            self._copied += len(built) if isinstance(built, (str, bytes, list, tuple, dict)) else 0
            if self._copied > 4 * len(self._data) + (1 << 20):
                raise CheckpointError("a pickle that copies the same data over and over")
            self._stack.append(built)
            return
        if str(called) in ("copyreg._reconstructor", "copyreg.__newobj__") and args and isinstance(args[0], Name):
            called, args = args[0], args[1:]
        if str(called) not in INERT:
            self.unbuilt[str(called)] = self.unbuilt.get(str(called), 0) + 1
        self._stack.append(Unbuilt(called, args))

    def _reduce(self) -> None:
        args, called = self._stack.pop(), self._stack.pop()
        self._call(called, args)

    def _new_object_with_keywords(self) -> None:
        self._stack.pop()
        self._reduce()

    def _object(self) -> None:
        called, *args = self._since_mark()
        self._call(called, args)

    def _instance(self) -> None:
        items = self._since_mark()
        self._name(self._line(), self._line())
        self._call(self._stack.pop(), items)

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Unbuilt):
            target.state = state
        elif isinstance(target, Buildable):
            target.build(state)
        # the attributes of a container (`_metadata` of a state dict) are nothing that is asked for

    def _persistent_id(self, value: Any) -> None:
        if self._persistent is None:
            raise CheckpointError("a pickle that refers to data outside the file", hint="give the file that holds them")
        self._stack.append(self._persistent(value))

    def _extension(self) -> None:
        raise CheckpointError("a pickle with registered extensions, whose meaning lies outside the file")

    def _outside_buffer(self) -> None:
        raise CheckpointError("a pickle whose data lie outside the file", hint="pickle it without buffer_callback")


def _of(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise damaged("a damaged pickle (a value of another kind than its use asks for)")
    return value


def _key(key: Any) -> Any:
    """A dictionary's key, as long as it costs nothing to hash (a tuple of tuples of tuples can take for ever)."""
    if isinstance(key, memoryview):
        return bytes(key)
    if isinstance(key, (tuple, list)):
        if not all(isinstance(part, (str, int, float, bool, type(None))) for part in key):
            raise CheckpointError("a pickle with dictionary keys that are neither names nor numbers")
        return tuple(key)
    if isinstance(key, dict):
        raise damaged("a damaged pickle (a dictionary as a key)")
    return key


def _remember(reader: PickleReader, index: int) -> None:
    reader._memo[index] = reader._stack[-1]


def _unknown(reader: PickleReader) -> None:
    raise damaged(f"a damaged pickle (no instruction at byte {reader.stop - 1:,})")


Instruction = Callable[[PickleReader], object]


def _instructions() -> list[Instruction]:
    """What each opcode does, by its byte; the letters are those of Python's pickle format. Sets are lists here."""
    table: dict[bytes, Instruction] = {
        b"\x80": PickleReader._protocol,
        b"\x95": lambda r: r._take(8),
        b"(": PickleReader._mark,
        b"0": PickleReader._drop,
        b"1": PickleReader._since_mark,
        b"2": lambda r: r._stack.append(r._stack[-1]),
        b"N": lambda r: r._stack.append(None),
        b"\x88": lambda r: r._stack.append(True),
        b"\x89": lambda r: r._stack.append(False),
        b"F": lambda r: r._stack.append(float(r._line())),
        b"G": lambda r: r._unpacked(">d"),
        **dict.fromkeys((b"I", b"L"), PickleReader._whole_line),
        b"J": lambda r: r._unpacked("<i"),
        b"K": lambda r: r._stack.append(r._byte()),
        b"M": lambda r: r._stack.append(r._unsigned(2)),
        b"\x8a": lambda r: r._number(r._byte()),
        b"\x8b": lambda r: r._number(r._unsigned(4)),
        b"S": lambda r: r._stack.append(r._line()[1:-1]),
        b"T": lambda r: r._old_text(r._unsigned(4)),
        b"U": lambda r: r._old_text(r._byte()),
        b"V": lambda r: r._stack.append(r._line()),
        b"X": lambda r: r._text(r._unsigned(4)),
        b"\x8c": lambda r: r._text(r._byte()),
        b"\x8d": lambda r: r._text(r._unsigned(8)),
        b"B": lambda r: r._stack.append(r._take(r._unsigned(4))),
        b"C": lambda r: r._stack.append(r._take(r._byte())),
        **dict.fromkeys((b"\x8e", b"\x96"), lambda r: r._stack.append(r._take(r._unsigned(8)))),
        **dict.fromkeys((b"\x97", b"\x98"), PickleReader._outside_buffer),
        b"a": lambda r: r._append([r._stack.pop()]),
        **dict.fromkeys((b"e", b"\x90"), lambda r: r._append(r._since_mark())),
        **dict.fromkeys((b"l", b"\x91"), lambda r: r._gather(list)),
        **dict.fromkeys((b"]", b"\x8f"), lambda r: r._stack.append([])),
        b"t": lambda r: r._gather(tuple),
        b")": lambda r: r._stack.append(()),
        b"\x85": lambda r: r._tuple(1),
        b"\x86": lambda r: r._tuple(2),
        b"\x87": lambda r: r._tuple(3),
        b"}": lambda r: r._stack.append({}),
        b"d": PickleReader._dictionary,
        b"s": lambda r: r._set_items([r._stack.pop(-2), r._stack.pop()]),
        b"u": lambda r: r._set_items(r._since_mark()),
        b"c": lambda r: r._name(r._line(), r._line()),
        b"\x93": PickleReader._stacked_name,
        **dict.fromkeys((b"R", b"\x81"), PickleReader._reduce),
        b"\x92": PickleReader._new_object_with_keywords,
        b"o": PickleReader._object,
        b"i": PickleReader._instance,
        b"b": PickleReader._build,
        b"P": lambda r: r._persistent_id(r._line()),
        b"Q": lambda r: r._persistent_id(r._stack.pop()),
        **dict.fromkeys((b"\x82", b"\x83", b"\x84"), PickleReader._extension),
        b"g": lambda r: r._stack.append(r._memo[int(r._line())]),
        b"h": lambda r: r._stack.append(r._memo[r._byte()]),
        b"j": lambda r: r._stack.append(r._memo[r._unsigned(4)]),
        b"p": lambda r: _remember(r, int(r._line())),
        b"q": lambda r: _remember(r, r._byte()),
        b"r": lambda r: _remember(r, r._unsigned(4)),
        b"\x94": lambda r: _remember(r, len(r._memo)),
    }
    by_byte: list[Instruction] = [_unknown] * 256
    for code, instruction in table.items():
        by_byte[code[0]] = instruction
    return by_byte


_INSTRUCTIONS = _instructions()
