#include "sources/glob.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>

#include <dirent.h>
#include <fnmatch.h>
#include <sys/stat.h>

namespace logpipe {

namespace {

constexpr int kDepthMax = 64;

std::vector<std::string> components_of(std::string_view path) {
  std::vector<std::string> components;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view component = path.substr(0, slash);
    if (!component.empty() && component != ".") components.emplace_back(component);
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return components;
}

bool name_matches(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), FNM_PERIOD) == 0;
}

std::string join(const std::string& directory, const std::string& name) {
  return directory == "/" ? "/" + name : directory + "/" + name;
}

bool is_directory(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

/// As above, but tells of a name of which that cannot be known.
template <auto Stat>
bool is_directory_by(const std::string& path, GlobVisitor& visitor) {
  struct stat info {};
  if (Stat(path.c_str(), &info) == 0) return S_ISDIR(info.st_mode);
  if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) visitor.on_error(path, errno);
  return false;
}
bool is_directory(const std::string& path, GlobVisitor& visitor) {
  return is_directory_by<&stat>(path, visitor);
}
bool is_own_directory(const std::string& path, GlobVisitor& visitor) {
  return is_directory_by<&lstat>(path, visitor);
}

struct DirectoryCloser {
  void operator()(DIR* directory) const noexcept { closedir(directory); }
};

/// Calls `take(name, type)` for each name in a directory but `.` and `..`; the type may be DT_UNKNOWN.
template <class Take>
void for_each_name(const std::string& path, GlobVisitor& visitor, Take take) {
  const std::unique_ptr<DIR, DirectoryCloser> directory(opendir(path.c_str()));
  if (!directory) {
    if (errno != ENOENT && errno != ENOTDIR) visitor.on_error(path, errno);
    return;
  }
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(directory.get());
    if (entry == nullptr) {
      if (errno != 0) visitor.on_error(path, errno);
      return;
    }
    const std::string name = entry->d_name;
    if (name != "." && name != "..") take(name, entry->d_type);
  }
}

}  // namespace

Glob::Glob(std::string_view pattern, std::string_view directory) : text_(pattern) {
  std::vector<std::string> parts;
  if (!pattern.starts_with('/')) parts = components_of(directory);
  const std::size_t given = parts.size();
  for (std::string& part : components_of(pattern)) parts.push_back(std::move(part));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Kind kind = Kind::literal;
    if (i >= given && parts[i].find_first_of("*?[\\") != std::string::npos) {
      kind = parts[i] == "**" ? Kind::any_depth : Kind::pattern;
    }
    components_.push_back({std::move(parts[i]), kind});
  }
  // `/var/log/**` means the files below it.
  if (!components_.empty() && components_.back().kind == Kind::any_depth) components_.push_back({"*", Kind::pattern});
}

bool Glob::matches(std::string_view path) const {
  return matches_from(0, components_of(path), 0);
}

bool Glob::matches_from(std::size_t component, const std::vector<std::string>& names, std::size_t name) const {
  for (; component < components_.size(); ++component, ++name) {
    const Component& wanted = components_[component];
    if (wanted.kind == Kind::any_depth) {
      for (std::size_t skip = name; skip < names.size(); ++skip) {
        if (matches_from(component + 1, names, skip)) return true;
        if (names[skip].starts_with('.')) return false;
      }
      return false;
    }
    if (name >= names.size()) return false;
    const bool same =
        wanted.kind == Kind::literal ? wanted.text == names[name] : name_matches(wanted.text, names[name]);
    if (!same) return false;
  }
  return name == names.size();
}

void Glob::walk(GlobVisitor& visitor) const {
  if (!components_.empty()) walk_from(0, "/", 0, visitor);
}

void Glob::walk_literal(std::size_t component, const std::string& directory, int depth, GlobVisitor& visitor) const {
  const std::string path = join(directory, components_[component].text);
  if (component + 1 == components_.size()) {
    visitor.on_directory(directory, DirectoryUse::files);
    struct stat info {};
    if (stat(path.c_str(), &info) == 0) {
      visitor.on_match(path);
    } else if (errno != ENOENT && errno != ENOTDIR) {
      visitor.on_error(path, errno);
    }
  } else if (is_directory(path)) {
    walk_from(component + 1, path, depth, visitor);
  } else {
    visitor.on_directory(directory, DirectoryUse::passage);
    // It may have come between the look and the watch.
    if (is_directory(path, visitor)) walk_from(component + 1, path, depth, visitor);
  }
}

void Glob::walk_from(std::size_t component, const std::string& directory, int depth, GlobVisitor& visitor) const {
  const Component& wanted = components_[component];
  if (wanted.kind == Kind::literal) return walk_literal(component, directory, depth, visitor);

  const bool last = component + 1 == components_.size();
  // The watch first, the look second: what comes in between is seen by both, and what comes later by the watch.
  visitor.on_directory(directory, last ? DirectoryUse::files : DirectoryUse::passage);
  if (wanted.kind == Kind::any_depth) walk_from(component + 1, directory, depth, visitor);
  for_each_name(directory, visitor, [&](const std::string& name, unsigned char type) {
    if (wanted.kind == Kind::any_depth) {
      if (name.starts_with('.') || depth >= kDepthMax) return;
      const std::string path = join(directory, name);
      if (type == DT_DIR || (type == DT_UNKNOWN && is_own_directory(path, visitor)))
        walk_from(component, path, depth + 1, visitor);
      return;
    }
    if (!name_matches(wanted.text, name)) return;
    const std::string path = join(directory, name);
    if (last) {
      if (type != DT_DIR) visitor.on_match(path);
    } else if (type == DT_DIR || ((type == DT_LNK || type == DT_UNKNOWN) && is_directory(path, visitor))) {
      walk_from(component + 1, path, depth, visitor);
    }
  });
}

ExcludeList::ExcludeList(const std::vector<std::string>& patterns, std::string_view directory) {
  for (const std::string& pattern : patterns) {
    if (pattern.find('/') == std::string::npos) {
      names_.push_back(pattern);
    } else {
      paths_.emplace_back(pattern, directory);
    }
  }
}

bool ExcludeList::matches(std::string_view path) const {
  const std::string name(path.substr(path.rfind('/') + 1));
  return std::any_of(names_.begin(), names_.end(),
                     [&](const std::string& pattern) { return fnmatch(pattern.c_str(), name.c_str(), 0) == 0; }) ||
         std::any_of(paths_.begin(), paths_.end(), [&](const Glob& glob) { return glob.matches(path); });
}

}  // namespace logpipe
