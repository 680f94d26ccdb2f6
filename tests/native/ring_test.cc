// Does a ring hand over whole records only, whoever dies, sleeps or lies? Random parts print their seed when they fail.
#include <doctest/doctest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "backend/sim/rng.h"
#include "calypte_ring.h"
#include "ring_support.h"

using calypte::sim::Rng;
using namespace calypte::test;

namespace {

constexpr uint64_t kPatience = 20'000'000'000;

calypte_ring_shape shape_of(uint32_t slots, uint64_t bytes) {
  calypte_ring_shape shape{};
  shape.slot_count = slots;
  shape.slot_bytes = bytes;
  shape.expiry_ns = 50'000'000;
  return shape;
}

// Every word of the payload follows from its record's number and size, so that one torn word shows.
uint64_t word_of(uint64_t number, uint64_t index) { return number * 0x9e3779b97f4a7c15 + index * 0xbf58476d1ce4e5b9; }

std::vector<uint64_t> payload_of(uint64_t number, uint64_t words) {
  std::vector<uint64_t> payload(words);
  for (uint64_t i = 0; i < words; ++i) payload[i] = word_of(number, i);
  return payload;
}

void put(calypte_ring &ring, uint64_t words) {
  const std::vector<uint64_t> payload = payload_of(ring.next, words);
  calypte_ring_record about{};
  about.number = ring.next;
  about.sensor_ns = ring.next + 7;
  about.payload_bytes = words * 8;
  calypte_ring_write(&ring, payload.data(), &about);
}

bool whole(const calypte_ring_record &record, const std::vector<uint64_t> &payload) {
  if (record.number != record.sequence || record.sensor_ns != record.sequence + 7) return false;
  for (uint64_t i = 0; i < record.payload_bytes / 8; ++i) {
    if (payload[i] != word_of(record.number, i)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("what one writes, another reads, in order and with its times") {
  const TempPath path;
  Ring writer(path, shape_of(4, 64)), reader(path);
  CHECK(calypte_ring_wait(&reader.ring, 0) == 0);
  for (uint64_t words : {0, 1, 8}) put(writer.ring, words);
  std::vector<uint64_t> payload(8);
  calypte_ring_record record;
  for (uint64_t sequence = 0; sequence < 3; ++sequence) {
    CHECK(calypte_ring_wait(&reader.ring, kPatience) == 1);
    REQUIRE(calypte_ring_read(&reader.ring, payload.data(), 64, &record) == 1);
    CHECK(record.sequence == sequence);
    CHECK(record.payload_bytes == (sequence == 0 ? 0 : sequence == 1 ? 8 : 64));
    CHECK(record.done_ns > 0);
    CHECK(whole(record, payload));
  }
  CHECK(calypte_ring_read(&reader.ring, payload.data(), 64, &record) == 0);
  CHECK(reader.ring.overruns == 0);
}

TEST_CASE("a payload that is too large is refused on either side, and stays readable") {
  const TempPath path;
  Ring writer(path, shape_of(2, 64)), reader(path);
  calypte_ring_record about{};
  about.payload_bytes = 65;
  const uint8_t bytes[65] = {};
  CHECK(calypte_ring_write(&writer.ring, bytes, &about) == CALYPTE_RING_E_BUFFER);
  put(writer.ring, 8);
  std::vector<uint64_t> payload(8);
  calypte_ring_record record;
  CHECK(calypte_ring_read(&reader.ring, payload.data(), 63, &record) == CALYPTE_RING_E_BUFFER);
  CHECK(record.payload_bytes == 64);
  CHECK(calypte_ring_read(&reader.ring, payload.data(), 64, &record) == 1);
  CHECK(whole(record, payload));
}

TEST_CASE("a reader that is overtaken counts what it lost and goes on behind it") {
  const TempPath path;
  Ring writer(path, shape_of(4, 64)), reader(path);
  for (int i = 0; i < 11; ++i) put(writer.ring, 8);
  std::vector<uint64_t> payload(8);
  calypte_ring_record record;
  REQUIRE(calypte_ring_read(&reader.ring, payload.data(), 64, &record) == 1);
  CHECK(record.sequence == 9);
  CHECK(reader.ring.overruns == 9);
  CHECK(whole(record, payload));
  REQUIRE(calypte_ring_read(&reader.ring, payload.data(), 64, &record) == 1);
  CHECK(record.sequence == 10);
}

TEST_CASE("a record that is overwritten while it is looked at is not confirmed") {
  const TempPath path;
  Ring writer(path, shape_of(2, 64)), reader(path);
  put(writer.ring, 8);
  calypte_ring_record record;
  const void *payload = nullptr;
  REQUIRE(calypte_ring_peek(&reader.ring, &record, &payload) == 1);
  put(writer.ring, 8);
  calypte_ring_reserve(&writer.ring);  // the slot that is looked at, begun and not complete
  CHECK(calypte_ring_confirm(&reader.ring) == 0);
  CHECK(reader.ring.overruns > 0);
}

TEST_CASE("a reader may skip to the newest and go back to the oldest") {
  const TempPath path;
  Ring writer(path, shape_of(4, 64)), reader(path);
  for (int i = 0; i < 3; ++i) put(writer.ring, 1);
  CHECK(calypte_ring_skip(&reader.ring) == 2);
  CHECK(reader.ring.next == 2);
  for (int i = 0; i < 3; ++i) put(writer.ring, 1);
  calypte_ring_rewind(&reader.ring);
  CHECK(reader.ring.next == 3);
  CHECK(reader.ring.overruns == 0);
}

TEST_CASE("a ring has one writer, and the next one goes on where it ended") {
  const TempPath path;
  Ring reader_of_both;
  {
    Ring first(path, shape_of(4, 64));
    CHECK(first.ring.created == 1);
    reader_of_both.open(path);
    put(first.ring, 8);
    calypte_ring second;
    const calypte_ring_shape shape = shape_of(4, 64);
    CHECK(calypte_ring_create(&second, path.c_str(), &shape) == CALYPTE_RING_E_BUSY);
  }
  Ring second(path, shape_of(4, 64));
  CHECK(second.ring.created == 0);
  CHECK(second.ring.next == 1);
  put(second.ring, 8);
  std::vector<uint64_t> payload(8);
  calypte_ring_record record;
  for (uint64_t sequence = 0; sequence < 2; ++sequence) {
    REQUIRE(calypte_ring_read(&reader_of_both.ring, payload.data(), 64, &record) == 1);
    CHECK(record.sequence == sequence);
    CHECK(whole(record, payload));
  }
  CHECK(calypte_ring_moved(&reader_of_both.ring, path.c_str()) == 0);
}

TEST_CASE("a writer that died within a record leaves it unseen; behind one, whole") {
  const TempPath path;
  for (const bool complete : {false, true}) {
    Ring writer(path, shape_of(4, 64)), reader(path);
    const uint64_t sequence = writer.ring.next;
    void *to = calypte_ring_reserve(&writer.ring);
    memset(to, 0xee, 64);
    if (complete) {
      // As commit does, up to the head.
      calypte_ring_slot *slot = static_cast<calypte_ring_slot *>(to) - 1;
      slot->payload_bytes = 0;
      slot->number = sequence;
      slot->sequence = 2 * sequence + 2;
    }
    writer.close();
    calypte_ring_record record;
    std::vector<uint64_t> payload(8);
    CHECK(calypte_ring_read(&reader.ring, payload.data(), 64, &record) == 0);
    Ring next(path, shape_of(4, 64));
    CHECK(next.ring.next == sequence + (complete ? 1 : 0));
    CHECK(calypte_ring_read(&reader.ring, payload.data(), 64, &record) == (complete ? 1 : 0));
  }
}

TEST_CASE("another shape is another file, which readers can tell; a file of another kind is left alone") {
  const TempPath path;
  Ring reader;
  {
    Ring writer(path, shape_of(4, 64));
    reader.open(path);
  }
  Ring larger(path, shape_of(8, 64));
  CHECK(larger.ring.created == 1);
  CHECK(calypte_ring_moved(&reader.ring, path.c_str()) == 1);

  const TempPath other;
  write_file(other, std::string(5000, 'x'));
  calypte_ring ring;
  const calypte_ring_shape shape = shape_of(4, 64);
  CHECK(calypte_ring_create(&ring, other.c_str(), &shape) == CALYPTE_RING_E_FORMAT);
  CHECK(calypte_ring_open(&ring, other.c_str()) == CALYPTE_RING_E_FORMAT);
  CHECK(read_file(other) == std::string(5000, 'x'));
}

TEST_CASE("shapes that cannot be are refused") {
  const TempPath path;
  calypte_ring ring;
  calypte_ring_shape image = shape_of(4, 12 * 5);
  image.format = CALYPTE_RING_RGB8;
  image.width = 4;
  image.height = 6;
  image.stride = 12;
  for (const calypte_ring_shape &shape : {shape_of(1, 64), shape_of(65'537, 64), shape_of(4, (1u << 30) + 1), image})
    CHECK(calypte_ring_create(&ring, path.c_str(), &shape) == CALYPTE_RING_E_INVALID);
  CHECK(calypte_ring_image_bytes(CALYPTE_RING_NV12, 640, 360, 640) == 640 * 360 * 3 / 2);
  CHECK(calypte_ring_image_bytes(CALYPTE_RING_NV12, 641, 360, 656) == 0);
  CHECK(calypte_ring_image_bytes(CALYPTE_RING_RGB8, 640, 360, 639) == 0);
}

TEST_CASE("the writer lives while its heartbeat is young, and no longer once it closed") {
  const TempPath path;
  Ring writer(path, shape_of(2, 64)), reader(path);
  CHECK(calypte_ring_alive(&reader.ring, 1'000) == 0);
  calypte_ring_heartbeat(&writer.ring, 1'000'000'000);
  CHECK(calypte_ring_alive(&reader.ring, 1'050'000'000) == 1);
  CHECK(calypte_ring_alive(&reader.ring, 1'050'000'001) == 0);
  // From before a reboot, when the clock began anew.
  CHECK(calypte_ring_alive(&reader.ring, 5) == 0);
  calypte_ring_heartbeat(&writer.ring, 1'000'000'000);
  writer.close();
  CHECK(calypte_ring_alive(&reader.ring, 1'000'000'001) == 0);
}

TEST_CASE("a waiting reader is woken by a record from another process") {
  const TempPath path;
  Ring first(path, shape_of(4, 64)), reader(path);
  first.close();
  const pid_t child = fork();
  if (child == 0) {
    Ring writer(path, shape_of(4, 64));
    put(writer.ring, 8);
    _exit(0);
  }
  CHECK(calypte_ring_wait(&reader.ring, kPatience) == 1);
  CHECK(ended(child) == 0);
}

TEST_CASE("writers killed at random moments leave only whole records, in order, and none is counted twice") {
  const uint64_t seed = seed_of("CALYPTE_RING_SEED", 20'260'101);
  CAPTURE(seed);
  Rng rng(seed);
  const TempPath path;
  // Large enough that a kill falls into a copy more often than not.
  constexpr uint64_t kWords = 32 * 1024;
  Ring(path, shape_of(8, kWords * 8)).close();
  Ring reader(path);
  std::vector<uint64_t> payload(kWords);
  uint64_t taken = 0, next = 0, half_written = 0;
  for (int life = 0; life < 200; ++life) {
    CAPTURE(life);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      Ring writer;
      if (writer.create(path, shape_of(8, kWords * 8)) != 0) _exit(1);
      for (Rng own(seed + static_cast<uint64_t>(life));;) put(writer.ring, own.up_to(kWords));
    }
    for (uint64_t wanted = 1 + rng.up_to(6); wanted > 0; --wanted) {
      REQUIRE(calypte_ring_wait(&reader.ring, kPatience) == 1);
      calypte_ring_record record;
      if (calypte_ring_read(&reader.ring, payload.data(), kWords * 8, &record) != 1) continue;
      taken += 1;
      REQUIRE(record.sequence >= next);
      REQUIRE(whole(record, payload));
      next = record.sequence + 1;
    }
    kill(child, SIGKILL);
    REQUIRE(ended(child) == SIGKILL);
    const uint64_t head = calypte_ring_head(&reader.ring);
    half_written += calypte_ring_slot_(&reader.ring, head)->sequence == 2 * head + 1 ? 1 : 0;
  }
  // What is left can still be read, and every record there ever was is either taken or known to be lost.
  calypte_ring_record record;
  while (calypte_ring_read(&reader.ring, payload.data(), kWords * 8, &record) == 1) {
    taken += 1;
    REQUIRE(whole(record, payload));
  }
  CHECK(taken + reader.ring.overruns == calypte_ring_head(&reader.ring));
  CHECK(half_written > 0);  // or the kills met nothing worth testing
}

TEST_CASE("a slow reader beside a fast writer never gets a torn record") {
  const TempPath path;
  Ring writer(path, shape_of(2, 4096)), reader(path);
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    while (!stop.load()) put(writer.ring, 512);
  });
  std::vector<uint64_t> payload(512);
  uint64_t taken = 0, torn = 0;
  while (taken < 2'000 || reader.ring.overruns == 0) {
    calypte_ring_record record;
    REQUIRE(calypte_ring_wait(&reader.ring, kPatience) == 1);
    if (calypte_ring_read(&reader.ring, payload.data(), 4096, &record) != 1) continue;
    taken += 1;
    torn += whole(record, payload) ? 0 : 1;
  }
  stop.store(true);
  thread.join();
  CHECK(torn == 0);
}

TEST_CASE("whatever is in the file, a reader stays within it and comes back") {
  const uint64_t seed = seed_of("CALYPTE_RING_SEED", 7);
  CAPTURE(seed);
  Rng rng(seed);
  const TempPath path;
  std::string good;
  {
    Ring writer(path, shape_of(4, 128));
    for (int i = 0; i < 6; ++i) put(writer.ring, 16);
    good = read_file(path);
  }
  uint32_t opened = 0, records = 0;
  const auto spoil = [&](std::string &bytes, size_t from) {
    for (uint64_t n = 1 + rng.up_to(4); n > 0; --n) {
      const size_t at = from + rng.up_to((rng.up_to(1) == 0 ? 256 : bytes.size()) - 1 - from);
      const uint64_t kind = rng.up_to(2);
      bytes[at] = static_cast<char>(kind == 0 ? rng.up_to(255) : kind == 1 ? 0xff : bytes[at] ^ 1 << rng.up_to(7));
    }
  };
  for (int round = 0; round < 20'000; ++round) {
    CAPTURE(round);
    std::string bytes = good;
    // Half of them have a head that opens, and what changes in operation is spoilt.
    spoil(bytes, round % 2 == 0 ? 0 : 128);
    if (rng.up_to(9) == 0) bytes.resize(rng.up_to(bytes.size()));
    write_file(path, bytes);
    calypte_ring ring;
    if (calypte_ring_open(&ring, path.c_str()) != 0) continue;
    opened += 1;
    for (int turn = 0; turn < 12; ++turn) {
      uint8_t buffer[128];
      calypte_ring_record record;
      const void *payload = nullptr;
      calypte_ring_wait(&ring, 0);
      if (turn == 3) calypte_ring_rewind(&ring);
      if (turn == 6) calypte_ring_skip(&ring);
      if (turn == 9) {
        std::string worse = bytes;
        spoil(worse, 0);
        write_over(path, worse);
      }
      if (calypte_ring_peek(&ring, &record, &payload) == 1) {
        const uint8_t *at = static_cast<const uint8_t *>(payload);
        REQUIRE(at >= ring.map + sizeof(calypte_ring_header));
        REQUIRE(record.payload_bytes <= static_cast<uint64_t>(ring.map + ring.map_bytes - at));
      }
      const int code = calypte_ring_read(&ring, buffer, sizeof buffer, &record);
      REQUIRE((code == 0 || code == 1));
      records += code == 1 ? 1 : 0;
      calypte_ring_alive(&ring, rng.up_to(UINT64_MAX - 1));
    }
    calypte_ring_close(&ring);
  }
  CHECK(opened > 1'000);
  CHECK(records > 1'000);
}
