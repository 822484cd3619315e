// Gencountry turns the country table of Debian's package tor-geoipdb (IPFire location data, CC BY-SA 4.0,
// https://location.ipfire.org/) into the MaxMind DB that tracker embeds.
//
// Beside its output it keeps the SHA-256 of its inputs. When the installed inputs are other ones, or none are
// installed, it says so and leaves the committed output alone: `go generate` must give the same result on
// every machine. With -update it takes the installed inputs as the new source.
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
)

// inputs are the two tables, in the order in which they are read and listed.
var inputs = [...]string{"geoip", "geoip6"}

func main() {
	log.SetFlags(0)
	log.SetPrefix("gencountry: ")
	from := flag.String("from", "/usr/share/tor", "directory of the files geoip and geoip6")
	out := flag.String("out", "country.mmdb", "database to write; the inputs' hashes go to the same name with .sha256 instead of .mmdb")
	update := flag.Bool("update", false, "take the installed tables even if they are not those of the present database")
	flag.Parse()

	if err := run(*from, *out, *update); err != nil {
		log.Fatal(err)
	}
}

// errOtherInputs says that the present database was made from other tables than those at hand.
var errOtherInputs = errors.New("present database was made from other tables")

func run(from, out string, update bool) error {
	sums := out[:len(out)-len(filepath.Ext(out))] + ".sha256"
	tables, err := readInputs(from, sums, update)
	if errors.Is(err, fs.ErrNotExist) && !update {
		log.Printf("%v; %s is left as it is (to regenerate it: apt-get install tor-geoipdb)", err, out)
		return nil
	}
	if errors.Is(err, errOtherInputs) {
		log.Printf("%v; %s is left as it is (to take over the installed tables: -update)", err, out)
		return nil
	}
	if err != nil {
		return err
	}
	var db bytes.Buffer
	if err := build(&db, tables); err != nil {
		return err
	}
	if err := os.WriteFile(out, db.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write database: %w", err)
	}
	if err := os.WriteFile(sums, checksums(tables), 0o644); err != nil {
		return fmt.Errorf("write checksums: %w", err)
	}
	return nil
}

// readInputs reads the tables and, unless update is set, holds them against the checksums in the file sums.
func readInputs(from, sums string, update bool) (tables [len(inputs)][]byte, err error) {
	for i, name := range inputs {
		if tables[i], err = os.ReadFile(filepath.Join(from, name)); err != nil {
			return tables, fmt.Errorf("read table: %w", err)
		}
	}
	if update {
		return tables, nil
	}
	want, err := os.ReadFile(sums)
	if err != nil {
		return tables, fmt.Errorf("read checksums: %w", err)
	}
	if !bytes.Equal(want, checksums(tables)) {
		return tables, errOtherInputs
	}
	return tables, nil
}

// checksums lists the tables' hashes as sha256sum does.
func checksums(tables [len(inputs)][]byte) []byte {
	var list bytes.Buffer
	for i, name := range inputs {
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(tables[i]), name)
	}
	return list.Bytes()
}
