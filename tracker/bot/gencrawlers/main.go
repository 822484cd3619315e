// Gencrawlers makes the list of crawlers that package bot embeds, of what bot.Known misses in crawler-user-agents.json: the
// file of that name in the npm package crawler-user-agents (MIT; the version is in NOTICE.txt), unchanged.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dachs/tracker/bot"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gencrawlers: ")
	dir := flag.String("dir", ".", "directory of crawler-user-agents.json and the output crawlers.txt")
	flag.Parse()

	list, err := generate(*dir)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*dir, "crawlers.txt"), []byte(list), 0o644); err != nil {
		log.Fatalf("write list: %v", err)
	}
}

// crawler is an entry of crawler-user-agents.json.
type crawler struct {
	Pattern   string   // a regular expression, nearly always of letters only
	Instances []string // user agents that were seen
}

func read(dir string) ([]crawler, error) {
	text, err := os.ReadFile(filepath.Join(dir, "crawler-user-agents.json"))
	if err != nil {
		return nil, fmt.Errorf("read crawlers: %w", err)
	}
	var list []crawler
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read crawlers: %w", err)
	}
	return list, nil
}

// people are patterns of the list that people's browsers have too, or easily could: a visitor who is not counted is
// worse than a program that is.
var people = map[string]string{
	`AP3A\.240617\.008`: "a build of Android, in phones of people",
	`MetaIAB Facebook`:  "the browser in Facebook's app",
	`Code\/1\.`:         "an editor with somebody in front of it",
	`Trae\/`:            "the same",
	`Fluid`:             "a browser for single sites",
	`Nitro-`:            "may begin the name of a device",
}

// minPart is the shortest part that is taken, in bytes: shorter ones may be anywhere.
const minPart = 5

// generate returns the parts, a line each, sorted.
func generate(dir string) (string, error) {
	list, err := read(dir)
	if err != nil {
		return "", err
	}
	var parts []string
	for _, c := range list {
		part, ok := literal(c.Pattern)
		missed := func(ua string) bool { return !bot.Known(ua) && strings.Contains(strings.ToLower(ua), part) }
		if ok && people[c.Pattern] == "" && slices.ContainsFunc(c.Instances, missed) {
			parts = append(parts, part)
		}
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), "\n") + "\n", nil
}

// literal returns the text that a pattern stands for, in lower case, if it is only text.
func literal(pattern string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		if c == '\\' && i+1 < len(pattern) && strings.IndexByte(`/.-_ ()+:`, pattern[i+1]) >= 0 {
			i++
			c = pattern[i]
		} else if strings.IndexByte(`\^$.|?*+()[]{}`, c) >= 0 {
			return "", false
		}
		b.WriteByte(c)
	}
	part := strings.ToLower(b.String())
	return part, len(part) >= minPart
}
