#include "vmm/report/html/report_page.h"

#include <algorithm>

#include <fmt/format.h>

#include "vmm/report/html/markup.h"
#include "vmm/report/html/page.h"
#include "vmm/report/html/report_parts.h"
#include "vmm/report/words.h"

namespace sealvisor::report {

namespace {

std::string facts(const Report& report) {
  std::vector<std::string> lanes;
  for (const Run& run : report.runs) {
    const std::string lane = fmt::format("{} ({})", run.lane, run.engine);
    if (std::find(lanes.begin(), lanes.end(), lane) == lanes.end()) lanes.push_back(lane);
  }
  return "<dl>\n" +
         html::fact("guests", fmt::format("{} ran, {} did not start", report.runs.size(),
                                          report.not_run.size())) +
         html::fact("lane", lanes.empty() ? "none" : fmt::format("{}", fmt::join(lanes, ", "))) +
         html::fact("exit code", fmt::format("{}", static_cast<int>(report.exit_code))) + "</dl>\n";
}

std::string blind_spots(const Report& report) {
  return html::list(blind_spots_of(report)) +
         "<p>Threat model: " + html::escape(report.threat_model) + ".</p>\n";
}

constexpr const char* kHowToRead = R"(<p>Three voices, never mixed: what the guest <em>claims</em>
(the answer to its system call; <code>sl</code> in smaps), what was <em>observed</em> in its page
tables from outside, and what is <em>expected</em> of its kernel, with the place in the kernel's source
that says so.</p>
<ul>
<li><span class="good">held</span>: the kernel is to be sealed; the mapping is unchanged, in the pages
that were populated. <span class="good">as-expected</span>: it did what a
kernel that is not sealed does; of an image of your own: nothing contradicts what it claims.</li>
<li><span class="other">forced</span>: a sealed mapping was written past its permissions, through ptrace
or <code>/proc/PID/mem</code>, which no seal keeps out. <span class="other">by-design</span>: the kernel
means that change, as in a time namespace.</li>
<li><span class="bad">violation</span>: it changed and should not have.
<span class="bad">mismatch</span>: claim or change is not what was expected.</li>
<li><span class="open">unobserved</span>: no page that was to change was ever populated, or the guest
did not get there. Never counted as held.</li>
<li><span class="other">lie caught</span>: a control kernel lied where it is documented to, and was
found out.</li>
<li>A program of your own is <span class="good">good</span> where there is no finding about it and it
ended with exit status 0, or as your file of scenarios says. Its pids, images and smaps are the guest's
word; what it wrote is its own.</li>
<li><em>new finding</em> or <em>known finding</em> behind any of them: the findings say more of it.</li>
<li><span class="note">skipped</span>: there is no such form, or no such mapping.</li>
</ul>
<p>A process is an address space that user mode ran on: up to its next exec or its end. Places in time
are counts of instructions that the virtual CPU had executed (with KVM: of moments). An entry is given
as it was and as it became, bit by bit; what only one of them has is struck out or underlined.</p>
<p>Keys: Tab goes on, Enter follows or opens; in the matrix, the arrow keys, Home and End.</p>
)";

}  // namespace

std::string render_html(const Report& report) {
  html::Page page;
  page.good = report.exit_code == ExitCode::AsExpected;
  page.title = fmt::format("{}: {}", title_of(report),
                           page.good                                     ? "as expected"
                           : report.exit_code == ExitCode::ProgramFailed ? "a program failed"
                                                                         : "not as expected");
  page.skip_to = "findings";
  page.skip_title = "findings";
  page.conclusion = report.conclusion;
  page.facts = facts(report);
  page.style = html::kReportStyle;
  page.script = html::kReportScript;
  page.sections.add("findings", "Findings", html::findings_section(report));
  page.sections.add("runs", "Runs", html::runs_section(report));
  page.sections.add("matrix", "What was tried, findings first", html::matrix_section(report));
  for (std::size_t i = 0; i < report.runs.size(); ++i) {
    page.sections.add(html::run_id(i), name_of(report.runs[i]), html::run_section(report, i));
  }
  page.sections.add("blind-spots", "What these runs cannot see", blind_spots(report));
  page.sections.add("reading", "How to read this", kHowToRead);
  return html::render(page);
}

}  // namespace sealvisor::report
