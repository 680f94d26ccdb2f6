// How does a critical task that another process carries out come in? Its process says over a shared page when it begins
// and ends a request; the end of its socket is its own end.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <string>

#include "client/page.h"
#include "engine/source.h"

namespace calypte {

class ExternalSource final : public Source {
 public:
  // Listens. Null with the error set.
  static std::unique_ptr<ExternalSource> open(const char *path);
  ~ExternalSource() override;

  bool poll(SourceItem &out) override;
  // Dispatcher. Never blocks.
  void wake_client();

 private:
  explicit ExternalSource(std::string path) : Source(CALYPTE_SOURCE_EXTERNAL), path_(std::move(path)) {}
  bool make_page();
  void begin() override {}
  void run() override;
  void interrupt() override;
  void greet(int client);
  void let_go();
  bool read(SourceItem &out);

  const std::string path_;
  int socket_ = -1;
  int stop_event_ = -1;
  int memory_ = -1;        // of the page
  int engine_event_ = -1;  // written by the client
  int client_event_ = -1;  // written by the engine
  int client_ = -1;        // its socket; source's thread only, as the next
  int process_ = -1;       // descriptor of its process; -1: it is not to be had
  dev_t device_ = 0;       // of the socket's file, so that only our own is removed
  ino_t inode_ = 0;
  calypte_client_page *page_ = nullptr;
  uint32_t tail_ = 0;  // dispatcher only
  std::atomic<uint32_t> present_{0};
  std::atomic<bool> gone_{false};  // until the dispatcher has heard of it
};

}  // namespace calypte
