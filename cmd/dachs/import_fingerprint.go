package main

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
	"time"

	"dachs/storage"
	"dachs/tracker/accesslog"
)

// logPrint gathers the fingerprint of a log while it is read. Only what is not about a visitor goes into it:
// what was asked for, how it was answered, and in which clock hour of the site. Address, user agent, referrer,
// query and the minute leave no trace, so that nobody can test a guess of them against the store; two logs
// that differ in nothing else count as the same one.
//
// Lines of visitors who opted out change nothing at all. The zero value needs zone.
type logPrint struct {
	zone *time.Location // of the site
	sum  uint32
	line []byte // reused
	storage.Fingerprint
}

// add takes a line that could be read.
func (p *logPrint) add(q *accesslog.Request) {
	if q.GPC || q.DNT {
		return
	}
	path := q.Target
	if end := strings.IndexAny(path, "?#"); end >= 0 {
		path = path[:end]
	}
	p.Lines++
	p.Bytes += int64(len(path))
	local := q.Time.In(p.zone)
	p.line = append(p.line[:0], q.Method...)
	p.line = append(p.line, ' ')
	p.line = append(p.line, path...)
	p.line = append(p.line, ' ') // a number of fixed length ends the line: lines do not run into each other
	p.line = binary.BigEndian.AppendUint16(p.line, uint16(q.Status))
	p.line = binary.BigEndian.AppendUint32(p.line, uint32(storage.DayOf(local)))
	p.line = append(p.line, byte(local.Hour()))
	p.sum = crc32.Update(p.sum, crc32.IEEETable, p.line)
}

// addUnreadable takes a line that could not be read.
func (p *logPrint) addUnreadable() { p.Lines++ }

// addDay takes the day of a page view that counts.
func (p *logPrint) addDay(day storage.Day) {
	if p.First == 0 && p.Last == 0 {
		p.First, p.Last = day, day
	}
	p.First, p.Last = min(p.First, day), max(p.Last, day)
}

// finish returns the fingerprint. The sum is folded to be too short to tell logs from each other by itself.
func (p *logPrint) finish() storage.Fingerprint {
	p.Checksum = uint16(p.sum>>16) ^ uint16(p.sum)
	return p.Fingerprint
}
