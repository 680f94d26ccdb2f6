// Does a result come out as it went in, whatever the ring's edge cuts through, and is none lost unnoticed?
#include "engine/result_store.h"

#include <doctest/doctest.h>

#include <cstring>
#include <deque>
#include <thread>
#include <vector>

#include "backend/sim/rng.h"
#include "engine/error.h"

using calypte::ResultStore;

namespace {

constexpr uint64_t kHeader = sizeof(calypte_result);

std::vector<uint8_t> payload_of(uint64_t number, uint32_t bytes) {
  std::vector<uint8_t> payload(bytes);
  for (uint32_t i = 0; i < bytes; ++i) payload[i] = static_cast<uint8_t>(number * 31 + i);
  return payload;
}

bool put(ResultStore &store, uint64_t number, uint32_t bytes) {
  calypte_result header{};
  header.number = number;
  header.payload_bytes = bytes;
  const std::vector<uint8_t> payload = payload_of(number, bytes);
  return store.put(header, bytes == 0 ? nullptr : payload.data());
}

// Checks the records in `bytes` against what was put; returns how many there are.
int check_records(const std::vector<uint8_t> &bytes, int32_t used, std::deque<std::pair<uint64_t, uint32_t>> &expected) {
  int count = 0;
  for (int32_t at = 0; at < used; ++count) {
    calypte_result header;
    REQUIRE(used - at >= static_cast<int32_t>(kHeader));
    memcpy(&header, bytes.data() + at, sizeof header);
    REQUIRE_FALSE(expected.empty());
    REQUIRE(header.number == expected.front().first);
    REQUIRE(header.payload_bytes == expected.front().second);
    REQUIRE(header.size_bytes == (kHeader + header.payload_bytes + 7) / 8 * 8);
    const std::vector<uint8_t> payload = payload_of(header.number, header.payload_bytes);
    REQUIRE((payload.empty() || memcmp(payload.data(), bytes.data() + at + kHeader, payload.size()) == 0));
    expected.pop_front();
    at += static_cast<int32_t>(header.size_bytes);
  }
  return count;
}

// Takes what fits and forgets it.
int32_t move_out(ResultStore &store, std::vector<uint8_t> &bytes) {
  const int32_t used = store.take(bytes.data(), static_cast<uint32_t>(bytes.size()));
  for (int32_t at = 0; at < used;) {
    calypte_result header;
    memcpy(&header, bytes.data() + at, sizeof header);
    CHECK(store.release(header.position) == 0);
    at += static_cast<int32_t>(header.size_bytes);
  }
  return used;
}

}  // namespace

TEST_CASE("results come out whole and in order across ten thousand wrap-arounds of random sizes") {
  const uint64_t seed = 11;
  INFO("seed " << seed);
  calypte::sim::Rng rng(seed);
  ResultStore store(4096);
  std::deque<std::pair<uint64_t, uint32_t>> expected;
  std::vector<uint8_t> bytes(4096);
  uint64_t number = 0, refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    const uint32_t size = static_cast<uint32_t>(rng.up_to(700));
    if (put(store, number, size)) expected.emplace_back(number, size);
    else refused += 1;
    number += 1;
    if (rng.up_to(2) == 0) check_records(bytes, move_out(store, bytes), expected);
  }
  CHECK(store.lost() == refused);
  CHECK(refused > 0);
}

TEST_CASE("a full store refuses and counts, and keeps what it has") {
  ResultStore store(10 * kHeader);
  for (uint64_t i = 0; i < 10; ++i) CHECK(put(store, i, 0));
  CHECK_FALSE(put(store, 10, 0));
  CHECK_FALSE(put(store, 11, 0));
  CHECK(store.lost() == 2);
  std::deque<std::pair<uint64_t, uint32_t>> expected;
  for (uint64_t i = 0; i < 10; ++i) expected.emplace_back(i, 0);
  std::vector<uint8_t> bytes(10 * kHeader);
  CHECK(check_records(bytes, move_out(store, bytes), expected) == 10);
  CHECK(put(store, 12, 0));
}

TEST_CASE("an empty store gives nothing") {
  ResultStore store(4096);
  uint8_t bytes[16];
  CHECK(store.take(bytes, sizeof bytes) == 0);
}

TEST_CASE("a buffer too small for the first result gets an error with the size, and the result stays") {
  ResultStore store(4096);
  REQUIRE(put(store, 1, 100));
  std::vector<uint8_t> bytes(kHeader + 104);
  CHECK(store.take(bytes.data(), static_cast<uint32_t>(bytes.size()) - 1) == CALYPTE_E_BUFFER);
  CHECK(calypte::last_error().find(std::to_string(kHeader + 104)) != std::string::npos);
  CHECK(store.take(bytes.data(), static_cast<uint32_t>(bytes.size())) == static_cast<int32_t>(bytes.size()));
}

TEST_CASE("a buffer for one and a half results gets one") {
  ResultStore store(4096);
  REQUIRE(put(store, 1, 0));
  REQUIRE(put(store, 2, 0));
  std::vector<uint8_t> bytes(kHeader + kHeader / 2);
  CHECK(store.take(bytes.data(), static_cast<uint32_t>(bytes.size())) == static_cast<int32_t>(kHeader));
  CHECK(store.take(bytes.data(), static_cast<uint32_t>(bytes.size())) == static_cast<int32_t>(kHeader));
}

TEST_CASE("a payload larger than the store is lost, not written over others") {
  ResultStore store(4096);
  REQUIRE(put(store, 1, 64));
  CHECK_FALSE(put(store, 2, 5000));
  CHECK(store.lost() == 1);
  std::deque<std::pair<uint64_t, uint32_t>> expected{{1, 64}};
  std::vector<uint8_t> bytes(4096);
  CHECK(check_records(bytes, store.take(bytes.data(), 4096), expected) == 1);
}

TEST_CASE("background has room only in three quarters of the store") {
  ResultStore store(16 * kHeader);
  for (uint64_t i = 0; i < 11; ++i) {
    CHECK(store.room_for_background(0));
    REQUIRE(put(store, i, 0));
  }
  CHECK(store.room_for_background(0));
  CHECK_FALSE(store.room_for_background(8));
  REQUIRE(put(store, 11, 0));
  CHECK_FALSE(store.room_for_background(0));
  std::vector<uint8_t> bytes(kHeader);
  REQUIRE(move_out(store, bytes) > 0);
  CHECK(store.room_for_background(0));
}

TEST_CASE("a consumer on another thread sees every result once and whole") {
  ResultStore store(8192);
  constexpr uint64_t kCount = 20'000;
  std::thread producer([&] {
    for (uint64_t i = 0; i < kCount;) {
      if (put(store, i, static_cast<uint32_t>(i % 300))) i += 1;
      else std::this_thread::yield();
    }
  });
  std::vector<uint8_t> bytes(8192);
  uint64_t next = 0;
  bool whole = true;
  while (next < kCount) {
    const int32_t used = move_out(store, bytes);
    for (int32_t at = 0; at < used; ++next) {
      calypte_result header;
      memcpy(&header, bytes.data() + at, sizeof header);
      const std::vector<uint8_t> payload = payload_of(next, static_cast<uint32_t>(next % 300));
      whole = whole && header.number == next && header.payload_bytes == payload.size();
      whole = whole && (payload.empty() || memcmp(payload.data(), bytes.data() + at + kHeader, payload.size()) == 0);
      at += static_cast<int32_t>(header.size_bytes);
    }
    if (used == 0) std::this_thread::yield();
  }
  producer.join();
  CHECK(whole);
}

TEST_CASE("what was taken is there again for whoever comes next, until it is released") {
  ResultStore store(4096);
  for (uint64_t i = 0; i < 3; ++i) REQUIRE(put(store, i, 8));
  std::vector<uint8_t> bytes(4096);
  std::deque<std::pair<uint64_t, uint32_t>> all{{0, 8}, {1, 8}, {2, 8}};
  std::deque<std::pair<uint64_t, uint32_t>> expected = all;
  CHECK(check_records(bytes, store.take(bytes.data(), 4096), expected) == 3);
  CHECK(store.take(bytes.data(), 4096) == 0);
  calypte_result first;
  memcpy(&first, bytes.data(), sizeof first);
  CHECK(store.release(first.position) == 0);
  store.retake();
  expected = {all.begin() + 1, all.end()};
  CHECK(check_records(bytes, store.take(bytes.data(), 4096), expected) == 2);
}

TEST_CASE("nothing is released that was not taken, and a position that is over changes nothing") {
  ResultStore store(4 * kHeader);
  for (uint64_t i = 0; i < 4; ++i) REQUIRE(put(store, i, 0));
  CHECK(store.release(kHeader) == CALYPTE_E_INVALID);
  std::vector<uint8_t> bytes(2 * kHeader);
  REQUIRE(store.take(bytes.data(), 2 * kHeader) == static_cast<int32_t>(2 * kHeader));
  CHECK(store.release(3 * kHeader) == CALYPTE_E_INVALID);
  CHECK_FALSE(put(store, 4, 0));
  CHECK(store.release(2 * kHeader) == 0);
  CHECK(store.release(kHeader) == 0);
  CHECK(put(store, 4, 0));
}
