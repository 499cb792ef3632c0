#include "vmm/evidence/names.h"

#include <charconv>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "vmm/evidence/members.h"

namespace sealvisor::evidence {

using event::Event;
using event::Kind;
using Json = nlohmann::ordered_json;

namespace {

Error bad_names(std::string text) { return Error{ExitCode::Failed, "symbols: " + std::move(text)}; }

std::optional<std::uint64_t> parse_hex(std::string_view text) {
  if (!text.starts_with("0x")) return std::nullopt;
  text.remove_prefix(2);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// What a violation may be by: a store, or the load of a root.
bool names_its_code(const Event& event) {
  const bool store = event.kind == Kind::SlotWrite || event.kind == Kind::ContentWrite;
  const bool load = event.kind == Kind::RootLoad && (event.flags & event::kUpperHalf) == 0;
  return (store || load) && (event.flags & event::kUserMode) == 0 && event.pc != 0;
}

}  // namespace

std::optional<std::string> RecordedSymbols::describe(std::uint64_t address) const {
  const auto found = code.find(address);
  if (found == code.end()) return std::nullopt;
  return found->second;
}

std::vector<std::optional<std::uint64_t>> RecordedSymbols::addresses_of(
    std::span<const std::string_view> names) const {
  std::vector<std::optional<std::uint64_t>> addresses(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (const auto found = places.find(names[i]); found != places.end()) {
      addresses[i] = found->second;
    }
  }
  return addresses;
}

std::string RecordedSymbols::render() const {
  Json of_places = Json::object();
  for (const auto& [name, address] : places) {
    of_places[name] = address ? Json(fmt::format("{:#x}", *address)) : Json(nullptr);
  }
  Json of_code = Json::object();
  for (const auto& [address, name] : code) of_code[fmt::format("{:#x}", address)] = name;
  const Json json = {{"schema", kNamesSchema}, {"places", of_places}, {"code", of_code}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<RecordedSymbols> RecordedSymbols::parse(std::string_view text) {
  const auto json = parse_json(text, "symbols");
  if (!json) return json.error();
  Members members(json.value(), "symbols");
  if (members.text("schema") != kNamesSchema) {
    members.refuse("schema", fmt::format("\"{}\"", kNamesSchema));
  }
  const Json* const held_places = members.member("places");
  const Json* const held_code = members.member("code");
  if (auto good = members.status(); !good) return good.error();
  RecordedSymbols symbols;
  const Json& of_places = *held_places;
  const Json& of_code = *held_code;
  if (!of_places.is_object() || !of_code.is_object()) {
    return bad_names("\"places\" and \"code\" are expected to be objects");
  }
  for (const auto& [name, address] : of_places.items()) {
    std::optional<std::uint64_t> value;
    if (!address.is_null()) {
      if (address.is_string()) value = parse_hex(address.get_ref<const std::string&>());
      if (!value)
        return bad_names(fmt::format("place of \"{}\": expected \"0x...\" or null", name));
    }
    symbols.places.emplace(name, value);
  }
  for (const auto& [address, name] : of_code.items()) {
    const auto value = parse_hex(address);
    if (!value || !name.is_string()) {
      return bad_names(fmt::format("code at \"{}\": expected \"0x...\" and a name", address));
    }
    symbols.code.emplace(*value, name.get<std::string>());
  }
  return symbols;
}

std::optional<std::string> RecordingSymbols::describe(std::uint64_t address) const {
  // Past the bound it has none, as a replay will have none.
  if (code_.size() >= kMostPlaces && !code_.contains(address)) return std::nullopt;
  code_.insert(address);
  return symbols_.describe(address);
}

std::vector<std::optional<std::uint64_t>> RecordingSymbols::addresses_of(
    std::span<const std::string_view> names) const {
  auto addresses = symbols_.addresses_of(names);
  for (std::size_t i = 0; i < names.size(); ++i) {
    places_.insert_or_assign(std::string(names[i]), addresses[i]);
  }
  return addresses;
}

void RecordingSymbols::note(std::span<const Event> events) {
  for (const Event& event : events) {
    if (event.pc == last_ || !names_its_code(event) || code_.size() >= kMostPlaces) continue;
    code_.insert(event.pc);
    last_ = event.pc;
  }
}

RecordedSymbols RecordingSymbols::recorded() const {
  RecordedSymbols recorded;
  recorded.places = places_;
  for (const std::uint64_t address : code_) {
    if (auto name = symbols_.describe(address)) recorded.code.emplace(address, std::move(*name));
  }
  return recorded;
}

}  // namespace sealvisor::evidence
