// How do requests come in over a Unix datagram socket? One calypte_datagram with its payload is one request.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/source.h"

namespace calypte {

class SocketSource final : public Source {
 public:
  // Binds. Null with the error set.
  static std::unique_ptr<SocketSource> open(const char *path);
  ~SocketSource() override;

 private:
  SocketSource(std::string path, int socket, int wake)
      : Source(CALYPTE_SOURCE_SOCKET), path_(std::move(path)), socket_(socket), wake_(wake) {}
  void begin() override;
  void run() override;
  void interrupt() override;
  bool receive();

  const std::string path_;
  const int socket_;
  const int wake_;    // eventfd
  dev_t device_ = 0;  // of the socket's file, so that only our own is removed
  ino_t inode_ = 0;
  std::vector<uint8_t> payload_;
  bool began_ = false;
  uint64_t next_sequence_ = 0;
};

}  // namespace calypte
