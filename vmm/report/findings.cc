#include "vmm/report/findings.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "vmm/base/untrusted_json.h"

namespace sealvisor::report {

namespace {

/// The numbers of "6.12.117-x"; what does not start with a number has none.
std::vector<unsigned> version_numbers(std::string_view text) {
  std::vector<unsigned> numbers;
  const char* next = text.data();
  const char* const end = text.data() + text.size();
  while (next != end) {
    unsigned number = 0;
    const auto read = std::from_chars(next, end, number);
    if (read.ec != std::errc{}) break;
    numbers.push_back(number);
    next = read.ptr;
    if (next == end || *next != '.') break;
    ++next;
  }
  return numbers;
}

bool is_version(std::string_view text) {
  const bool characters = text.find_first_not_of("0123456789.") == std::string_view::npos;
  return characters && !text.empty() && text.back() != '.' &&
         version_numbers(text).size() ==
             static_cast<std::size_t>(std::count(text.begin(), text.end(), '.')) + 1;
}

bool is_date(std::string_view text) {
  constexpr std::string_view kShape = "dddd-dd-dd";
  return text.size() == kShape.size() &&
         std::equal(text.begin(), text.end(), kShape.begin(), [](char c, char shape) {
           return shape == 'd' ? c >= '0' && c <= '9' : c == shape;
         });
}

/// -1, 0, 1: `version`, cut to the length of `bound`, is below, at, above `bound`.
int compare(std::vector<unsigned> version, const std::vector<unsigned>& bound) {
  version.resize(bound.size());
  if (version == bound) return 0;
  return version < bound ? -1 : 1;
}

/// `id` as fnmatch(3) wants it: only `*` and `?` are special.
std::string as_glob(std::string_view id) {
  std::string glob;
  for (const char c : id) {
    if (c == '[' || c == ']' || c == '\\') glob += '\\';
    glob += c;
  }
  return glob;
}

std::string_view without_last(std::string_view id) { return id.substr(0, id.rfind('/')); }

/// Reads one entry; an error text instead if something is wrong with it.
std::optional<std::string> read_entry(const nlohmann::json& entry, KnownFinding& known) {
  if (!entry.is_object()) return fmt::format("expected an object, got {}", entry.dump());
  const auto take = [](const nlohmann::json& from, const char* name, std::string& to) {
    const auto member = from.find(name);
    if (member == from.end() || !member->is_string()) return false;
    to = member->get<std::string>();
    return !to.empty();
  };
  for (const auto& [name, value] : entry.items()) {
    constexpr std::array<std::string_view, 4> kMembers = {"id", "reason", "kernels", "reviewed"};
    if (std::find(kMembers.begin(), kMembers.end(), name) == kMembers.end()) {
      return fmt::format("'{}' is no member; expected id, reason, kernels, reviewed", name);
    }
  }
  if (!take(entry, "id", known.id) || known.id.find('/') == std::string::npos) {
    return "'id' must be a pattern like \"x86_64/lts-sealed/[vdso]/munmap/*/S1\"";
  }
  if (!take(entry, "reason", known.reason)) {
    return fmt::format("'{}': 'reason' must say why it is no news", known.id);
  }
  const auto kernels = entry.find("kernels");
  if (kernels == entry.end() || !kernels->is_object() || kernels->size() != 2 ||
      !take(*kernels, "from", known.from) || !take(*kernels, "to", known.to) ||
      !is_version(known.from) || !is_version(known.to)) {
    return fmt::format(
        "'{}': 'kernels' must have versions \"from\" and \"to\", like \"6.12\" and \"6.12.40\"",
        known.id);
  }
  if (compare(version_numbers(known.from), version_numbers(known.to)) > 0) {
    return fmt::format("'{}': kernels from {} to {} are none", known.id, known.from, known.to);
  }
  if (!take(entry, "reviewed", known.reviewed) || !is_date(known.reviewed)) {
    return fmt::format("'{}': 'reviewed' must be a date like \"2026-01-31\"", known.id);
  }
  return std::nullopt;
}

/// Everything that a finding of this run could be about: its id without the invariant.
std::vector<std::string> tried(const Run& run) {
  const std::string prefix = fmt::format("{}/{}/", arch::name_of(run.arch), run.recipe);
  std::vector<std::string> subjects;
  for (const char* always : {"rewalk", "limit", "paging", "boot/doorbell"}) {
    subjects.push_back(prefix + always);
  }
  if (run.counts.witness_stores) subjects.push_back(prefix + "witness");
  for (const MappingInfo& mapping : run.mappings) subjects.push_back(prefix + mapping.name);
  for (const Cell& cell : run.cells) {
    if (cell.verdict == Verdict::Skipped) continue;
    subjects.push_back(fmt::format("{}{}/{}/{}", prefix, cell.mapping, cell.operation, cell.form));
    // What a control lies about is not unobserved, however little was seen of it.
    if (!run.control) subjects.push_back(fmt::format("{}{}/{}", prefix, cell.mapping, cell.form));
  }
  for (const Life& life : run.lives) {
    subjects.push_back(prefix + life.name);
    for (const MappingInfo& mapping : run.mappings) {
      subjects.push_back(fmt::format("{}{}/{}", prefix, life.name, mapping.name));
    }
  }
  return subjects;
}

}  // namespace

Result<std::vector<KnownFinding>> parse_known_findings(std::string_view text,
                                                       std::string_view name) {
  const auto bad = [&](const std::string& what) {
    return Error{ExitCode::Usage, fmt::format("{}: {}", name, what)};
  };
  const nlohmann::json json = parse_untrusted_json<nlohmann::json>(text).value_or(
      nlohmann::json(nlohmann::json::value_t::discarded));
  if (json.is_discarded()) return bad("this is not JSON");
  const auto schema = json.is_object() ? json.find("schema") : json.end();
  if (schema == json.end() || *schema != kKnownFindingsSchema) {
    return bad(fmt::format("expected an object with \"schema\": \"{}\"", kKnownFindingsSchema));
  }
  const auto findings = json.find("findings");
  if (findings == json.end() || !findings->is_array() || json.size() != 2) {
    return bad("expected the members \"schema\" and \"findings\" (a list) and no other");
  }
  std::vector<KnownFinding> known;
  for (const nlohmann::json& entry : *findings) {
    KnownFinding one;
    if (const auto error = read_entry(entry, one)) {
      return bad(fmt::format("entry {}: {}", known.size() + 1, *error));
    }
    known.push_back(std::move(one));
  }
  return known;
}

bool id_matches(const std::string& id, const std::string& finding_id) {
  return ::fnmatch(as_glob(id).c_str(), finding_id.c_str(), 0) == 0;
}

bool covers(const KnownFinding& known, std::string_view release) {
  const std::vector<unsigned> version = version_numbers(release);
  return !version.empty() && compare(version, version_numbers(known.from)) >= 0 &&
         compare(version, version_numbers(known.to)) <= 0;
}

void apply_known(Run& run, std::span<const KnownFinding> known) {
  const std::vector<std::string> subjects = tried(run);
  std::vector<Finding> gone;
  for (const KnownFinding& entry : known) {
    if (!covers(entry, run.kernel)) continue;
    bool seen = false;
    for (Finding& finding : run.findings) {
      if (!id_matches(entry.id, finding.id)) continue;
      seen = true;
      if (finding.known) continue;
      finding.known = true;
      finding.reason = entry.reason;
    }
    // A `*` in the last word may stand for more than the invariant.
    const std::string about(without_last(entry.id));
    const bool open_end = entry.id.find('*', about.size()) != std::string::npos;
    const bool was_tried =
        std::any_of(subjects.begin(), subjects.end(), [&](const std::string& subject) {
          return id_matches(about, subject) || (open_end && id_matches(entry.id, subject));
        });
    if (seen || !was_tried || !run.ending.good) continue;
    gone.push_back({fmt::format("{}/{}/known-findings/{}/went-away", arch::name_of(run.arch),
                                run.recipe, entry.id),
                    "went-away",
                    fmt::format("a known finding went away: {} (reviewed {}: {})", entry.id,
                                entry.reviewed, entry.reason),
                    false, ""});
  }
  run.findings.insert(run.findings.end(), gone.begin(), gone.end());
}

}  // namespace sealvisor::report
