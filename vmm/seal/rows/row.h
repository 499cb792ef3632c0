// One row of what is expected: of which cells it speaks, what the kernel answers, what changes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "arch/arch.h"
#include "guest/scenario/operation.h"
#include "vmm/report/report.h"

namespace sealvisor::seal {

using report::Change;
using report::Exception;
using scenario::Call;

/// What the kernel made a mapping with. All are special mappings: VM_DONTEXPAND, and
/// special_mapping_vmops, whose may_split refuses. Bits of Kinds.
enum Kind : std::uint8_t {
  /// [vdso]: VM_READ|VM_EXEC; VM_MAYREAD|VM_MAYWRITE|VM_MAYEXEC, so that a debugger can set
  /// breakpoints. A private mapping: a page that is stored to becomes a copy.
  kVdso = 1,
  /// [sigpage] of arm64: the same, one page.
  kSigpage = 2,
  /// [vectors] of arm64: VM_READ|VM_EXEC; VM_MAYREAD|VM_MAYEXEC. One page.
  kVectors = 4,
  /// [vvar], [vvar_vclock]: VM_READ; VM_MAYREAD; VM_PFNMAP, on x86-64 VM_IO|VM_DONTDUMP too.
  kVvar = 8,
  /// [uprobes]: VM_EXEC; VM_MAYEXEC; VM_DONTCOPY|VM_IO. One page.
  kUprobes = 16,
};
using Kinds = std::uint8_t;
inline constexpr Kinds kCopied = kVdso | kSigpage;           ///< A write makes a copy.
inline constexpr Kinds kCode = kVdso | kSigpage | kVectors;  ///< Readable and executable.
inline constexpr Kinds kUnwritable = kVectors | kVvar | kUprobes;
inline constexpr Kinds kAnyKind = kCode | kVvar | kUprobes;

enum class Part : std::uint8_t { Any, Whole, Some, Nothing, Something };
enum class Recipe : std::uint8_t { Any, Sealed, Unsealed };
enum class Machine : std::uint8_t { Any, X86_64, Arm64 };
/// Protection keys of x86-64.
enum class Keys : std::uint8_t { Any, On, Off };
/// proc_mem.force_override of the kernel's command line; bits of Forcings.
enum Force : std::uint8_t { kAlways = 1, kPtrace = 2, kNever = 4 };
using Forcings = std::uint8_t;
inline constexpr Forcings kAnyForcing = kAlways | kPtrace | kNever;

/// A set of calls.
struct Calls {
  std::uint64_t bits = 0;
  [[nodiscard]] constexpr bool has(Call call) const {
    return (bits >> static_cast<unsigned>(call) & 1U) != 0;
  }
};
static_assert(scenario::kCallCount <= 64);
template <typename... Some>
[[nodiscard]] constexpr Calls calls(Some... some) {
  return {((std::uint64_t{1} << static_cast<unsigned>(some)) | ...)};
}

/// A set of arguments of a call; empty: any.
struct Arguments {
  std::array<std::uint32_t, 10> values{};
  std::size_t count = 0;
  [[nodiscard]] constexpr bool has(std::uint32_t argument) const {
    for (std::size_t i = 0; i < count; ++i) {
      if (values.at(i) == argument) return true;
    }
    return count == 0;
  }
};
template <typename... Some>
[[nodiscard]] constexpr Arguments arguments(Some... some) {
  return {{static_cast<std::uint32_t>(some)...}, sizeof...(some)};
}

/// Change::Unobserved in a row: any change that user mode sees, but some.
inline constexpr Change kSomeChange = Change::Unobserved;

struct Row {
  Calls of{};
  Arguments with{};
  Recipe recipe = Recipe::Any;
  Kinds kinds = kAnyKind;
  Part part = Part::Any;
  Machine machine = Machine::Any;
  Keys keys = Keys::Any;
  Forcings forcings = kAnyForcing;
  int error = 0;        ///< 0 = success.
  int older_error = 0;  ///< Of kernels before 6.12, where it is another; 0: the same.
  Change change = Change::Unchanged;
  std::string_view source{};
  std::string_view permissions{};  ///< PermissionChanged: what is left.
  /// On a sealed recipe: why the change is none that the seal is to keep out.
  Exception exception = Exception::None;
  /// Invariants that are broken on the way, beside those that the change breaks: "S2 S5".
  std::string_view breaks{};
};

}  // namespace sealvisor::seal
