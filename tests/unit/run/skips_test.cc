#include "vmm/run/skips.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "guest/scenario/operations.h"

namespace sealvisor::run {
namespace {

using protocol::Skip;
using scenario::Form;

SkipFacts facts(const char* operation, Form form, std::size_t pages) {
  SkipFacts known;
  known.operation = scenario::operation_named(operation);
  known.form = form;
  known.pages = pages;
  known.our_guest = true;
  known.kernel_has = [](std::string_view name) { return name == "do_shmat"; };
  return known;
}

TEST(Skips, AreHeldAgainstWhatIsKnown) {
  struct Case {
    Skip reason;
    SkipFacts facts;
    const char* objection;  // empty: none
  };
  SkipFacts unknown_kernel = facts("pressure-memcg", Form::Whole, 2);
  unknown_kernel.kernel_has = {};
  SkipFacts other_guest = facts("shmat-over", Form::Whole, 2);
  other_guest.our_guest = false;
  SkipFacts certain = facts("munmap", Form::Whole, 0);
  certain.must_exist = true;
  const SkipFacts open_sides = facts("munmap", Form::Neighbour, 2);
  SkipFacts enclosed = open_sides;
  enclosed.enclosed = true;
  const Case cases[] = {
      {Skip::No, facts("munmap", Form::Whole, 2), ""},
      {Skip::NoMapping, facts("munmap", Form::Whole, 0), ""},
      {Skip::NoMapping, facts("munmap", Form::Whole, 2), "the monitor has identified it"},
      {Skip::NoMapping, certain, "this kernel has it"},
      {Skip::NoRoom, open_sides, "a guest of ours has room"},
      {Skip::NoRoom, enclosed, ""},
      {Skip::TooFewPages, facts("munmap", Form::LastPage, 1), ""},
      {Skip::TooFewPages, facts("munmap", Form::LastPage, 2), "it has more than one page"},
      {Skip::TooFewPages, facts("munmap", Form::Whole, 1), "this form is never too little"},
      {Skip::NoRoom, facts("munmap", Form::Whole, 2), "it needs no room"},
      {Skip::NoRoom, facts("mbind", Form::Whole, 2), "it needs no room"},
      {Skip::NoRoom, facts("shmat-over", Form::Whole, 2), "a guest of ours has room"},
      {Skip::NoRoom, other_guest, ""},
      {Skip::Unsupported, facts("munmap", Form::Whole, 2),
       "it needs nothing that a kernel may lack"},
      {Skip::Unsupported, facts("shmat-over", Form::Whole, 2), "the kernel has do_shmat"},
      {Skip::Unsupported, facts("pressure-memcg", Form::Whole, 2), ""},
      {Skip::Unsupported, unknown_kernel, ""},
      {static_cast<Skip>(99), facts("munmap", Form::Whole, 2), "that is no reason"},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(objection_to(one.reason, one.facts), one.objection)
        << skip_text(one.reason) << ", " << one.facts.operation->name;
  }
}

}  // namespace
}  // namespace sealvisor::run
