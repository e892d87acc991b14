"""Instructions of processors that multiply bytes and add the products up, which numba has no words for.

They are written in those of LLVM, into functions that numba compiles. Addresses are numbers here.

What numba has kept on disk does not know of this module: after a change here, touch those that import it.

Instructions: `NEEDED`, of x86-64, or VNNI. Others do without this module (`nirank_dense.exact.code_products`).
"""

# ruff: noqa: ARG001 (numba hands types to the functions that emit instructions, and values to what these return)

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic


def _compiles_for(*instructions: str) -> bool:
    """True if numba compiles for a processor that has these."""
    features = str(cpu_target.target_context.codegen().magic_tuple()[2]).split(",")
    return all(f"+{name}" in features for name in instructions)


#: Instructions without which nothing here can be compiled, as LLVM calls them.
NEEDED = ("avx2",)
#: Whether there are those of VNNI, which are taken before these.
HAS_VNNI = _compiles_for("avx512vnni", "avx512f", "avx512bw", "avx512vl")
#: Numbers of 32 bits that a register holds, and its bytes.
LANES = 16 if HAS_VNNI else 8
CHUNK = 4 * LANES

INT8, INT16, INT32, INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
FLOAT = ir.FloatType()
INTS, FLOATS = ir.VectorType(INT32, LANES), ir.VectorType(FLOAT, LANES)
BYTES, PAIRS = ir.VectorType(INT8, CHUNK), ir.VectorType(INT16, 2 * LANES)


@functools.cache
def available() -> bool:
    """True if numba compiles for a processor that has such instructions."""
    return HAS_VNNI or _compiles_for(*NEEDED)


@intrinsic
def lowest_bit(_context: Any, word: Any) -> Any:
    """The place of the lowest bit that is set, of one at least."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), emit


class Instructions:
    """The instructions that comparisons of codes are made of, written one after the other."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def after(self, address: Any, offset: Any) -> Any:
        """The address `offset` bytes further."""
        return self.builder.add(address, offset)

    def load(self, address: Any, kind: Any, place: int = 0) -> Any:
        """The element at a place of an array of `kind`, aligned as its parts are."""
        size = {INT32: 4, FLOAT: 4, INT64: 8}.get(kind, CHUNK)
        pointer = self.builder.inttoptr(self.after(address, number(size * place)), kind.as_pointer())
        loaded = self.builder.load(pointer)
        loaded.align = 1
        return loaded

    def store(self, value: Any, address: Any, place: int) -> None:
        """Write a mask, sums or scores to a place of an array of such, aligned as its parts are."""
        size = CHUNK if value.type in (INTS, FLOATS) else LANES // 8
        pointer = self.builder.inttoptr(self.after(address, number(size * place)), value.type.as_pointer())
        self.builder.store(value, pointer).align = 1

    def spread(self, address: Any, kind: Any, place: int = 0) -> Any:
        """An element in every lane of a register."""
        empty = ir.Constant(ir.VectorType(kind, LANES), ir.Undefined)
        one = self.builder.insert_element(empty, self.load(address, kind, place), ir.Constant(INT32, 0))
        return self.builder.shuffle_vector(one, empty, ir.Constant(INTS, [0] * LANES))

    def constant(self, value: int) -> Any:
        """A number in every lane of a register."""
        return ir.Constant(INTS, [value] * LANES)

    def repeated(self, values: list[int]) -> Any:
        """Sixteen bytes, again and again, as far as a register goes."""
        return ir.Constant(BYTES, values * (CHUNK // len(values)))

    def looked_up(self, table: Any, places: Any) -> Any:
        """The bytes of a table of sixteen that stand at places from 0 to 15."""
        name = "llvm.x86.avx512.pshuf.b.512" if HAS_VNNI else "llvm.x86.avx2.pshuf.b"
        look_up = self._called(name, ir.FunctionType(BYTES, [BYTES] * 2))
        return self.builder.bitcast(self.builder.call(look_up, [table, self.builder.bitcast(places, BYTES)]), INTS)

    def variable(self, value: Any) -> Any:
        """Something to add to, which ends up in a register."""
        place = cgutils.alloca_once(self.builder, value.type)
        self.builder.store(value, place)
        return place

    def fetch(self, address: Any) -> None:
        """Ask for memory that is to be read soon; there need not be any."""
        pointer = self.builder.inttoptr(address, INT8.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [INT8.as_pointer(), INT32, INT32, INT32])
        settings = (ir.Constant(INT32, setting) for setting in (0, 3, 1))  # to read, to keep, as data
        self.builder.call(self._called("llvm.prefetch.p0", kind), [pointer, *settings])

    def products(self, rows: list[Any], ahead: list[Any], query: Any, chunks: Any) -> Any:
        """Products of codes at `LANES` addresses with those of a query, a lane each; memory `ahead` is fetched.

        With VNNI codes of the query are raised, and products are too large by that.
        """
        sums = [self.variable(self.constant(0)) for _ in rows]
        with cgutils.for_range(self.builder, chunks) as loop:
            offset = self.builder.mul(loop.index, number(CHUNK))
            asked = self.load(self.after(query, offset), INTS)
            for row, later, total in zip(rows, ahead, sums, strict=True):
                codes = self.load(self.after(row, offset), INTS)
                self.fetch(self.after(later, offset))
                if HAS_VNNI:
                    self.add_products(total, [asked], [codes])
                else:
                    self.add_signed_products(total, asked, codes)
        return self.each_in_a_lane([self.builder.load(of_document) for of_document in sums])

    def add_products(self, total: Any, unsigned: list[Any], signed: list[Any]) -> None:
        """Add products of bytes, four for each register given, to each lane of a variable."""
        add = self._by_vnni if HAS_VNNI else self._by_avx2
        self.builder.store(add(self.builder.load(total), unsigned, signed), total)

    def _by_vnni(self, total: Any, unsigned: list[Any], signed: list[Any]) -> Any:
        add = self._called("llvm.x86.avx512.vpdpbusd.512", ir.FunctionType(INTS, [INTS] * 3))
        for left, right in zip(unsigned, signed, strict=True):
            total = self.builder.call(add, [total, left, right])
        return total

    def _by_avx2(self, total: Any, unsigned: list[Any], signed: list[Any]) -> Any:
        multiply = self._called("llvm.x86.avx2.pmadd.ub.sw", ir.FunctionType(PAIRS, [BYTES] * 2))
        widen = self._called("llvm.x86.avx2.pmadd.wd", ir.FunctionType(INTS, [PAIRS] * 2))
        both = [
            self.builder.call(multiply, [self.builder.bitcast(register, BYTES) for register in pair])
            for pair in zip(unsigned, signed, strict=True)
        ]
        sums = functools.reduce(self.builder.add, both)
        ones = ir.Constant(PAIRS, [1] * 2 * LANES)
        return self.builder.add(total, self.builder.call(widen, [sums, ones]))

    def add_signed_products(self, total: Any, left: Any, right: Any) -> None:
        """The same by AVX2 where both have signs: |right| times left with the sign of right, codes from -127 to 127."""
        take_sign = self._called("llvm.x86.avx2.psign.b", ir.FunctionType(BYTES, [BYTES] * 2))
        codes = self.builder.bitcast(right, BYTES)
        signed = self.builder.call(take_sign, [self.builder.bitcast(left, BYTES), codes])
        lengths = self.builder.call(take_sign, [codes, codes])
        self.add_products(total, [lengths], [signed])

    def each_in_a_lane(self, registers: list[Any]) -> Any:
        """The lanes of each of `LANES` registers added up, those of the first in the first lane, and so on."""
        while len(registers) > 1:
            registers = [self._by_neighbours(*pair) for pair in zip(registers[::2], registers[1::2], strict=True)]
        return registers[0]

    def _by_neighbours(self, first: Any, second: Any) -> Any:
        """Every two lanes that lie together added up, those of the first register before those of the second."""
        parts = (ir.Constant(INTS, list(range(start, 2 * LANES, 2))) for start in (0, 1))
        return self.builder.add(*(self.builder.shuffle_vector(first, second, part) for part in parts))

    def allowed(self, by_length: Any, length: Any, by_error: Any, error: Any) -> Any:
        """The number by which a bound is above a coarse score."""
        return self.builder.fadd(self.builder.fmul(by_length, length), self.builder.fmul(by_error, error))

    def wanted(self, by_length: Any, length: Any, by_error: Any, error: Any, steps: Any) -> Any:
        """The number that a product, times the scale of its document, has to reach."""
        return self.builder.fsub(steps, self.allowed(by_length, length, by_error, error))

    def reached(self, sums: Any, scale: Any, wanted: Any) -> Any:
        """A mask of the lanes whose product reaches it."""
        scaled = self.builder.fmul(self.builder.sitofp(sums, FLOATS), scale)
        return self.builder.bitcast(self.builder.fcmp_ordered(">=", scaled, wanted), ir.IntType(LANES))

    def _called(self, name: str, kind: Any) -> Any:
        return cgutils.get_or_insert_function(self.builder.module, kind, name)


def number(value: int) -> Any:
    """A count, or the size of a step, as an address is one."""
    return ir.Constant(INT64, value)
