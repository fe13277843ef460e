import org.apache.pdfbox.preflight.PreflightDocument;
import org.apache.pdfbox.preflight.ValidationResult;
import org.apache.pdfbox.preflight.parser.PreflightParser;

/** Says of every PDF whether it is PDF/A-1b; ends with 1 if one is not. */
public class Preflight {
    public static void main(String[] files) throws Exception {
        boolean good = true;
        for (String file : files) {
            PreflightParser parser = new PreflightParser(file);
            parser.parse();
            PreflightDocument document = parser.getPreflightDocument();
            document.validate();
            ValidationResult result = document.getResult();
            System.out.println(file + (result.isValid() ? ": PDF/A-1b" : ": NOT PDF/A-1b"));
            result.getErrorsList().stream().limit(10).forEach(e -> System.out.println("  " + e.getErrorCode() + " " + e.getDetails()));
            good &= result.isValid();
            document.close();
        }
        System.exit(good ? 0 : 1);
    }
}
