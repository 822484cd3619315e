package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// listed is what `go list` says of a package.
type listed struct {
	ImportPath, Name, Dir string
	Standard              bool
	Imports, GoFiles      []string
	Module                *struct{ Path string }
}

// listPackages returns all packages of the program with everything that they import, by path.
func listPackages(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Name,Dir,Standard,Imports,GoFiles,Module", "./...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]listed{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		packages[p.ImportPath] = p
	}
}

// matches says whether path is pattern, or under it where pattern ends in "/...".
func matches(path, pattern string) bool {
	if root, deep := strings.CutSuffix(pattern, "/..."); deep {
		return path == root || strings.HasPrefix(path, root+"/")
	}
	return path == pattern
}

// own lists the module's packages that end up in the binary, which leaves out the generators.
func own(packages map[string]listed) []listed {
	var list []listed
	for _, path := range slices.Sorted(maps.Keys(packages)) {
		if p := packages[path]; matches(path, "dachs/...") && (p.Name != "main" || path == "dachs/cmd/dachs") {
			list = append(list, p)
		}
	}
	return list
}

// TestArrows holds which of our packages may know which others.
func TestArrows(t *testing.T) {
	allowed := map[string][]string{
		"dachs/cmd/dachs":         {"dachs/..."},
		"dachs/tracker":           {"dachs/script", "dachs/storage", "dachs/tracker/..."},
		"dachs/dashboard":         {"dachs/storage", "dachs/dashboard/..."},
		"dachs/storage":           {"dachs/storage/..."},
		"dachs/script":            {},
		"dachs/tracker/visit":     {},
		"dachs/tracker/secret":    {},
		"dachs/tracker/accesslog": {},
	}
	for _, p := range own(listPackages(t)) {
		may, known := allowed[p.ImportPath]
		if !known && !strings.HasPrefix(p.ImportPath, "dachs/cmd/") {
			// A part of a package may know what the package may.
			may, known = allowed[filepath.ToSlash(filepath.Dir(p.ImportPath))]
		}
		if !known {
			t.Errorf("%s has no place in the layout: give it one in this table", p.ImportPath)
		}
		for _, imported := range p.Imports {
			if matches(imported, "dachs/...") && !slices.ContainsFunc(may, func(m string) bool { return matches(imported, m) }) {
				t.Errorf("%s imports %s; it may import %v of ours", p.ImportPath, imported, may)
			}
		}
	}
}

// TestForbiddenImports holds what our packages must not import themselves.
func TestForbiddenImports(t *testing.T) {
	rules := []struct{ in, forbidden, reason string }{
		{"dachs/storage/...", "net/http", "storage knows no requests"},
		{"dachs/storage/...", "github.com/valyala/fasthttp/...", "storage knows no requests"},
		{"dachs/storage/...", "html/template", "storage shows nothing"},
		{"dachs/dashboard/...", "github.com/valyala/fasthttp/...", "the dashboard is a plain http.Handler, so that it can be tested as one"},
		{"dachs/dashboard/...", "github.com/dgraph-io/...", "keys and values are storage's alone"},
		{"dachs/tracker/...", "github.com/dgraph-io/...", "keys and values are storage's alone"},
		{"dachs/tracker/...", "html/template", "the tracker answers no pages"},
		{"dachs/storage/...", "flag", "flags and environment are read in cmd/dachs alone"},
		{"dachs/tracker/...", "flag", "flags and environment are read in cmd/dachs alone"},
		{"dachs/dashboard/...", "flag", "flags and environment are read in cmd/dachs alone"},
		{"dachs/script/...", "flag", "flags and environment are read in cmd/dachs alone"},
	}
	for _, p := range own(listPackages(t)) {
		for _, imported := range p.Imports {
			for _, r := range rules {
				if matches(p.ImportPath, r.in) && matches(imported, r.forbidden) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imported, r.reason)
				}
			}
			for _, parser := range []string{"github.com/alecthomas/kong/...", "github.com/BurntSushi/toml/..."} {
				if matches(imported, parser) && p.ImportPath != "dachs/cmd/dachs" {
					t.Errorf("%s imports %s: configuration is read in cmd/dachs alone", p.ImportPath, imported)
				}
			}
		}
	}
}

// TestVisitReachesNothing proves that what tells visitors apart cannot get out of memory: the package has
// neither files nor network nor an encoder within reach, not even through what it imports.
func TestVisitReachesNothing(t *testing.T) {
	packages := listPackages(t)
	if _, ok := packages["dachs/tracker/visit"]; !ok {
		t.Fatal("there is no package dachs/tracker/visit")
	}
	forbidden := []string{"os/...", "syscall", "net/...", "io/...", "bufio", "fmt", "log/...", "encoding/...", "database/...", "plugin", "dachs/storage/..."}
	harmless := []string{
		"io",        // interfaces; files are in os
		"net/netip", // addresses as values; connections are in net
	}
	seen := map[string]bool{}
	var walk func(path string, way []string)
	walk = func(path string, way []string) {
		if seen[path] {
			return
		}
		seen[path] = true
		way = append(slices.Clip(way), path)
		for _, f := range forbidden {
			if matches(path, f) && !slices.Contains(harmless, path) {
				t.Errorf("dachs/tracker/visit reaches %s by %s", path, strings.Join(way, " -> "))
				return
			}
		}
		for _, imported := range packages[path].Imports {
			walk(imported, way)
		}
	}
	walk("dachs/tracker/visit", nil)
}

// TestScriptIsSmall holds that the script's package carries bytes and compresses them, and nothing else.
func TestScriptIsSmall(t *testing.T) {
	packages := listPackages(t)
	compressors := []string{"github.com/andybalholm/brotli/...", "github.com/klauspost/compress/...", "github.com/molecule-man/go-brrr/..."}
	for _, imported := range packages["dachs/script"].Imports {
		if !packages[imported].Standard && !slices.ContainsFunc(compressors, func(c string) bool { return matches(imported, c) }) {
			t.Errorf("dachs/script imports %s; it needs the standard library and a compressor only", imported)
		}
	}
}

// TestNotices holds that each library in the binary is named in NOTICE, as their licences ask.
func TestNotices(t *testing.T) {
	notice, err := os.ReadFile(filepath.Join("..", "..", "NOTICE"))
	if err != nil {
		t.Fatal(err)
	}
	packages := listPackages(t)
	seen := map[string]bool{}
	var walk func(path string)
	walk = func(path string) {
		p := packages[path]
		if seen[path] || p.Standard {
			return
		}
		seen[path] = true
		if p.Module != nil && p.Module.Path != "dachs" && !regexp.MustCompile(regexp.QuoteMeta(p.Module.Path)+`[,\s]`).Match(notice) {
			t.Errorf("NOTICE does not name %s, which %s is part of", p.Module.Path, path)
		}
		for _, imported := range p.Imports {
			walk(imported)
		}
	}
	walk("dachs/cmd/dachs")
	if len(seen) < 10 {
		t.Fatalf("found only %d packages in the binary", len(seen))
	}
}

// TestOnlyCommandsExit finds calls in libraries that would end the process over the head of its owner.
func TestOnlyCommandsExit(t *testing.T) {
	for _, p := range own(listPackages(t)) {
		for _, name := range p.GoFiles {
			if p.ImportPath == "dachs/cmd/dachs" && name == "main.go" {
				continue // its main is the one place
			}
			checkNoExit(t, filepath.Join(p.Dir, name))
		}
	}
}

func checkNoExit(t *testing.T, file string) {
	t.Helper()
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, _ := sel.X.(*ast.Ident)
		exits := pkg != nil && (pkg.Name == "os" && sel.Sel.Name == "Exit" ||
			pkg.Name == "log" && (strings.HasPrefix(sel.Sel.Name, "Fatal") || strings.HasPrefix(sel.Sel.Name, "Panic")))
		if exits {
			t.Errorf("%s: %s.%s: return an error instead", set.Position(n.Pos()), pkg.Name, sel.Sel.Name)
		}
		return true
	})
}
