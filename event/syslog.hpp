#pragma once

#include <cstdint>
#include <string_view>

#include "event/scan_lines.hpp"

namespace logpipe {

/// Reads a syslog line, of RFC 5424 or of RFC 3164 and what devices and daemons make of it; which one it is, the line
/// tells: a version behind the PRI makes it the former.
///
/// Fields: `facility` and `severity` (names as in RFC 5424, tables 1 and 2: `daemon`, `err`), `time` as it stands,
/// `host`, `app`, `pid`, `msgid`, `sd` (structured data, an object of objects; a parameter that is there several times
/// is an array), `sequence` (Cisco) and `message`. What is absent or `-` is left out. In a `message` of RFC 5424 a byte
/// order mark is read over.
///
/// Of RFC 3164 everything may be missing but the PRI or the time: without a PRI (files), without a host, without a tag.
/// The time may be `Oct 11 22:14:15`, its day one digit with or without padding, with a fraction, with a year before or
/// behind the day, or RFC 3339. Cisco's forms are read: a sequence number, `*` or `.` before the time, a zone behind
/// it, and `%FACILITY-SEVERITY-MNEMONIC`, which becomes the `msgid` and, where there is no PRI, gives the severity.
///
/// False when the line is something else. Threads: any.
bool scan_syslog(std::string_view line, const ScanOut& out);

/// `err` for 3; severities are 0 to 7.
std::string_view syslog_severity_name(unsigned severity) noexcept;
/// `local0` for 16; facilities are 0 to 23.
std::string_view syslog_facility_name(unsigned facility) noexcept;

}  // namespace logpipe
