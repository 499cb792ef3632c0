#include "vmm/report/findings.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/report/samples.h"

namespace sealvisor::report {
namespace {

KnownFinding known(const std::string& id) {
  return {id, "reviewed and harmless", "6.12", "6.13", "2026-01-31"};
}

TEST(KnownFindings, PatternsTakeBracketsAsThemselves) {
  struct Case {
    const char* pattern;
    const char* id;
    bool matches;
  };
  const std::vector<Case> cases = {
      {"x86_64/lts-sealed/[vdso]/munmap/whole/S1", "x86_64/lts-sealed/[vdso]/munmap/whole/S1",
       true},
      {"x86_64/lts-sealed/[vdso]/munmap/whole/S1", "x86_64/lts-sealed/v/munmap/whole/S1", false},
      {"*/[vdso]/*/S1", "arm64/lying/[vdso]/mprotect-rw/whole/S1", true},
      {"*/[vdso]/*/S1", "arm64/lying/[vvar]/mprotect-rw/whole/S1", false},
      {"*/S?", "arm64/lying/[vvar]/munmap/whole/S4", true},
      {"*/S?", "arm64/lying/[vvar]/munmap/whole/claim", false},
      {"arm64/*", "x86_64/arm64/S1", false},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(id_matches(one.pattern, one.id), one.matches) << one.pattern << " " << one.id;
  }
}

TEST(KnownFindings, CoverARangeOfKernels) {
  struct Case {
    const char* from;
    const char* to;
    const char* release;
    bool covered;
  };
  const std::vector<Case> cases = {
      {"6.12", "6.12", "6.12.117-sealvisor", true},
      {"6.12", "6.12", "6.12", true},
      {"6.12", "6.12", "6.13.0", false},
      {"6.12", "6.12", "6.11.9", false},
      {"6.12", "7", "7.3.1", true},
      {"6.12.5", "6.13", "6.12.4", false},
      {"6.12.5", "6.13", "6.12.10+", true},
      {"6.9", "6.10", "6.10.2", true},
      {"6.12", "6.13", "", false},
      {"6.12", "6.13", "unknown", false},
  };
  for (const Case& one : cases) {
    KnownFinding entry = known("a/b");
    entry.from = one.from;
    entry.to = one.to;
    EXPECT_EQ(covers(entry, one.release), one.covered)
        << one.from << " " << one.to << " " << one.release;
  }
}

std::string file_with(const std::string& entry) {
  return R"({"schema": "sealvisor-known-findings-1", "findings": [)" + entry + "]}";
}

constexpr const char* kGoodEntry =
    R"({"id": "x86_64/*/S1", "reason": "r", "kernels": {"from": "6.12", "to": "6.12.9"},
        "reviewed": "2026-01-31"})";

TEST(KnownFindings, ReadsTheReviewedFile) {
  const auto read = parse_known_findings(file_with(kGoodEntry), "file");
  ASSERT_TRUE(read.ok()) << read.error().message;
  ASSERT_EQ(read.value().size(), 1U);
  EXPECT_EQ(read.value()[0].id, "x86_64/*/S1");
  EXPECT_EQ(read.value()[0].to, "6.12.9");
  EXPECT_TRUE(parse_known_findings(file_with(""), "file").value().empty());
}

TEST(KnownFindings, NamesWhatIsWrongWithTheFile) {
  struct Case {
    std::string text;
    const char* message;
  };
  const std::string good = kGoodEntry;
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return file_with(text);
  };
  const std::vector<Case> cases = {
      {"", "not JSON"},
      {"{", "not JSON"},
      {"[]", "sealvisor-known-findings-1"},
      {R"({"schema": "sealvisor-known-findings-2", "findings": []})", "sealvisor-known-findings-1"},
      {R"({"schema": "sealvisor-known-findings-1"})", "\"findings\""},
      {R"({"schema": "sealvisor-known-findings-1", "findings": [], "more": 1})", "no other"},
      {file_with("3"), "entry 1: expected an object, got 3"},
      {file_with(good + ", {}"), "entry 2: 'id'"},
      {with("x86_64/*/S1", "S1"), "'id'"},
      {with("\"r\"", "\"\""), "'reason'"},
      {with("6.12.9", "6.12.x"), "'kernels'"},
      {with("6.12.9", "6.12."), "'kernels'"},
      {with("6.12.9", "6.11"), "kernels from 6.12 to 6.11"},
      {with("2026-01-31", "31.1.2026"), "'reviewed'"},
      {with("reason", "raison"), "'raison' is no member"},
  };
  for (const Case& one : cases) {
    const auto read = parse_known_findings(one.text, "file");
    ASSERT_FALSE(read.ok()) << one.text;
    EXPECT_EQ(read.error().code, ExitCode::Usage);
    EXPECT_NE(read.error().message.find(one.message), std::string::npos) << read.error().message;
    EXPECT_TRUE(read.error().message.starts_with("file: ")) << read.error().message;
  }
}

TEST(KnownFindings, MarkWhatIsListedAndMissWhatWentAway) {
  struct Case {
    const char* name;
    const char* pattern;
    bool marked;     ///< The one finding of the run.
    bool went_away;  ///< A finding of its own is added.
  };
  const std::vector<Case> cases = {
      {"listed", "x86_64/lts-sealed/[vdso]/munmap/whole/S1", true, false},
      {"listed by a pattern", "*/lts-sealed/[vdso]/*", true, false},
      {"cell ran, finding not there", "x86_64/lts-sealed/[vvar]/munmap/whole/S1", false, true},
      {"life ran, finding not there", "*/lts-sealed/life/fork/[vdso]/S8", false, true},
      {"life of its own ran", "*/lts-sealed/life/fork/monitor", false, true},
      {"mapping is there", "x86_64/lts-sealed/[vvar]/unobserved", false, true},
      {"whole run", "x86_64/lts-sealed/rewalk/monitor", false, true},
      {"open end", "x86_64/lts-sealed/life/*", false, true},
      {"other recipe", "x86_64/lts-unsealed/[vdso]/munmap/whole/S1", false, false},
      {"other architecture", "arm64/lts-sealed/[vvar]/munmap/whole/S1", false, false},
      {"cell was not part of the run", "x86_64/lts-sealed/[vdso]/mmap-fixed/whole/S2", false,
       false},
      {"cell was skipped", "x86_64/lts-sealed/[vvar_vclock]/munmap/whole/S1", false, false},
      {"no witness in this run", "x86_64/lts-sealed/witness/monitor", false, false},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    report::Run run = samples::sealed_run();
    run.findings = {{"x86_64/lts-sealed/[vdso]/munmap/whole/S1", "S1", "gone", false, ""}};
    const KnownFinding entry = known(one.pattern);
    apply_known(run, std::span(&entry, 1));
    EXPECT_EQ(run.findings[0].known, one.marked);
    EXPECT_EQ(run.findings[0].reason, one.marked ? "reviewed and harmless" : "");
    ASSERT_EQ(run.findings.size(), one.went_away ? 2U : 1U);
    if (one.went_away) {
      EXPECT_EQ(run.findings[1].invariant, "went-away");
      EXPECT_FALSE(run.findings[1].known);
      EXPECT_NE(run.findings[1].text.find(one.pattern), std::string::npos);
    }
  }
}

TEST(KnownFindings, SayNothingAboutOtherKernelsAndFailedGuests) {
  const KnownFinding entry = known("x86_64/lts-sealed/[vvar]/munmap/whole/S1");
  report::Run other = samples::sealed_run();
  other.kernel = "7.3.1";
  apply_known(other, std::span(&entry, 1));
  EXPECT_TRUE(other.findings.empty());

  report::Run failed = samples::sealed_run();
  failed.ending.good = false;
  apply_known(failed, std::span(&entry, 1));
  EXPECT_TRUE(failed.findings.empty());
}

}  // namespace
}  // namespace sealvisor::report
