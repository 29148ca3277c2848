#include "control_group.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>

namespace bts::cpu {

namespace {

// The names of both versions.
struct Files {
  const char* root;
  const char* limit;
  const char* usage;
  const char* reclaimable;  // of memory.stat: pages of files that nobody needs
};
constexpr Files kVersion1{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                          "total_inactive_file"};
constexpr Files kVersion2{"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"};

// False where the file is not there, or says `max`.
bool read_number(const std::string& path, size_t& number) { return static_cast<bool>(std::ifstream(path) >> number); }

size_t reclaimable_bytes(const std::string& folder, const char* name) {
  std::ifstream file(folder + "/memory.stat");
  std::string word;
  for (size_t number; file >> word >> number;)
    if (word == name) return number;
  return 0;
}

size_t left_in(const std::string& folder, const Files& files) {
  size_t limit, usage;
  if (!read_number(folder + "/" + files.limit, limit) || !read_number(folder + "/" + files.usage, usage))
    return SIZE_MAX;
  const size_t used = usage - std::min(usage, reclaimable_bytes(folder, files.reclaimable));
  return limit - std::min(limit, used);
}

// Of the group and those that it lies in. In a container the path may be the host's: what is seen then is the root.
size_t left_up_from(std::string path, const Files& files) {
  size_t left = left_in(files.root, files);
  for (; path.size() > 1; path.erase(path.rfind('/'))) left = std::min(left, left_in(files.root + path, files));
  return left;
}

}  // namespace

size_t bytes_left_in_groups() {
  std::ifstream file("/proc/self/cgroup");
  size_t left = SIZE_MAX;
  // ID:CONTROLLERS:PATH, where version 2 has no controllers.
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first, second - first + 1), path = line.substr(second + 1);
    if (controllers == "::") left = std::min(left, left_up_from(path, kVersion2));
    else if (("," + controllers.substr(1, controllers.size() - 2) + ",").find(",memory,") != std::string::npos)
      left = std::min(left, left_up_from(path, kVersion1));
  }
  return left;
}

}  // namespace bts::cpu
